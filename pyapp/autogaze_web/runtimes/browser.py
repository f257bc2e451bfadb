"""The Runtime in Pyodide: the bridge to web/worker/inference.js, which runs ONNX Runtime Web.

A tensor is a JavaScript handle, passed through and never looked at. A frame costs one await, because JavaScript runs the loop.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pyodide.ffi import JsException, to_js

from autogaze_web.errors import DeviceError, MemoryFullError, StoppedError
from autogaze_web.runtime import TYPECODES, Begun, HostTensor, Limits, Loop, Tensor

ERRORS = {"OutOfMemory": MemoryFullError, "DeviceLost": DeviceError, "Cancelled": StoppedError}  # by the name of the JavaScript error


@contextmanager
def translated() -> Iterator[None]:
    """JavaScript's errors that something can be done about, as errors of ours."""
    try:
        yield
    except JsException as error:
        kind = ERRORS.get(str(error.name))
        if kind is None:
            raise
        raise kind(str(error.message)) from error


class BrowserRuntime:
    """Graphs by name on WebGPU or WASM."""

    def __init__(self, inference: Any, backend: str) -> None:
        """inference: an Inference of web/worker/inference.js; backend: its name for a person."""
        self.inference, self._backend = inference, backend
        told = inference.limits
        self._limits = Limits(int(told.memory), int(told.tensor), bool(told.wholeWindows), bool(told.sideBySide))

    @property
    def backend(self) -> str:
        return self._backend

    @property
    def limits(self) -> Limits:
        return self._limits

    def upload(self, tensor: HostTensor) -> Tensor:
        with translated():
            return self.inference.upload(tensor.dtype, to_js(tensor.shape), to_js(memoryview(tensor.data).cast("B")))  # type: ignore[no-any-return]

    def zeros(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        with translated():
            return self.inference.zeros(dtype, to_js(shape))  # type: ignore[no-any-return]

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with translated():
            given = to_js(dict(feeds))
            found = self.inference.runNow(graph, given)
            outputs = by_name(await self.inference.run(graph, given) if found is None else found)
        # Python has a new proxy of a handle that comes back; the contract is the very one that was fed. Proxies are equal where the
        # JavaScript objects are one.
        fed = {name: feeds.get(name.removeprefix("next.")) for name in outputs}
        return {name: handle if fed[name] is None or fed[name] != handle else fed[name] for name, handle in outputs.items()}

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        try:
            begun = await self.begin(first, then, feeds, state, collect, flag, limit)
        except BaseException:
            self.release(list(state.values()))
            raise
        return await self.finish(begun)

    async def begin(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Begun:
        with translated():
            begun = await self.inference.begin(first, then, to_js(dict(feeds)), to_js(dict(state)), to_js(list(collect)), flag, limit)
        return Begun({**state, **by_name(begun.fresh)}, int(begun.runs), (begun, collect))

    async def known(self, begun: Begun) -> Loop | None:
        handle, collect = begun.handle
        with translated():
            collected = await self.inference.known(handle)
        return None if collected is None else Loop(begun.state, by_run(collect, collected))

    async def finish(self, begun: Begun) -> Loop:
        handle, collect = begun.handle
        with translated():
            ended = await self.inference.finish(handle)
        return Loop(by_name(ended.state), by_run(collect, ended.collected))

    def abandon(self, begun: Begun) -> None:
        self.inference.abandon(begun.handle[0])

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        with translated():
            return [numbers(entry) for entry in await self.inference.read(to_js(list(tensors)))]

    def release(self, tensors: Sequence[Tensor]) -> None:
        self.inference.release(to_js(list(tensors)))


def by_name(handles: Any) -> dict[str, Tensor]:
    """A JavaScript object of handles as a dict."""
    return {str(name): handle for name, handle in handles.object_entries()}


def by_run(collect: Sequence[str], collected: Any) -> list[dict[str, HostTensor]]:
    """The numbers of each run, by name."""
    return [dict(zip(collect, map(numbers, run), strict=True)) for run in collected]


def numbers(entry: Any) -> HostTensor:
    """{dtype, dims, data} of JavaScript as a HostTensor."""
    dtype = str(entry.dtype)
    data = array(TYPECODES[dtype])
    data.frombytes(entry.data.to_bytes())
    return HostTensor(data, dtype, tuple(int(dim) for dim in entry.dims))
