"""A runtime that forgives no leak, no second release and no use after release, as a browser's GPU does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from autogaze_web.model_folder import Model
from autogaze_web.runtime import HostTensor, Loop, Tensor, step_by_step
from autogaze_web.runtimes.native import NativeRuntime


class Strict:
    """A Runtime that knows which handles are live, and can fail at a given run."""

    def __init__(self, model: Model, fail_at: int | None = None) -> None:
        self.runtime, self.live, self.runs, self.fail_at = NativeRuntime(model), dict[int, Any](), 0, fail_at
        self.limits = self.runtime.limits

    backend = "strict"

    def take(self, tensor: Tensor) -> Tensor:
        self.live[id(tensor)] = tensor
        return tensor

    def check(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            assert id(tensor) in self.live, "a handle is used after its release"

    def upload(self, tensor: HostTensor) -> Tensor:
        return self.take(self.runtime.upload(tensor))

    def adopt(self, values: NDArray[Any]) -> Tensor:
        return self.take(self.runtime.adopt(values))

    def zeros(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        return self.take(self.runtime.zeros(dtype, shape))

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.check(list(feeds.values()))
        self.runs += 1
        if self.runs == self.fail_at:
            raise RuntimeError("device lost")
        return {name: self.take(tensor) for name, tensor in (await self.runtime.run(graph, feeds)).items()}

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        return await step_by_step(self, first, then, feeds, state, collect, flag, limit)

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        self.check(tensors)
        return await self.runtime.read(tensors)

    def release(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            assert self.live.pop(id(tensor), None) is not None, "a handle is released twice"
