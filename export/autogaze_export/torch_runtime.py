"""The Runtime in PyTorch: the graphs' own modules, run eagerly on CPU or CUDA. The reference of every parity claim."""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Mapping, Sequence
from typing import cast

import torch

from autogaze_export.graphs.specs import GraphSpec, graph_specs
from autogaze_export.model import AutoGaze
from autogaze_web.runtime import DEFAULT_LIMITS, TYPECODES, HostTensor, Limits, Loop, Tensor, step_by_step


class TorchRuntime:
    """Tensors are PyTorch's; graphs are the modules that ONNX graphs are exported from."""

    def __init__(self, network: AutoGaze) -> None:
        self.network = network
        self.specs = {spec.name: spec for spec in graph_specs(network.config)}
        self.modules = {name: spec.module(network).eval().to(network.device) for name, spec in self.specs.items()}

    @property
    def backend(self) -> str:
        return f"torch {torch.__version__} {self.network.device}"

    @property
    def limits(self) -> Limits:
        return DEFAULT_LIMITS

    def upload(self, tensor: HostTensor) -> Tensor:
        data = torch.frombuffer(bytearray(tensor.data), dtype=getattr(torch, tensor.dtype))
        return data.reshape(tensor.shape).to(self.network.device)

    def zeros(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, dtype=getattr(torch, dtype), device=self.network.device)

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(self.run_now(graph, feeds))

    @torch.no_grad()
    def run_now(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, torch.Tensor]:
        """As run; eager PyTorch is not asynchronous."""
        spec, module = self.specs[graph], self.modules[graph]
        found = module(**arguments(spec, module, cast(Mapping[str, torch.Tensor], feeds)))
        return dict(zip(spec.outputs, found if isinstance(found, tuple) else (found,), strict=True))

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        return await step_by_step(self, first, then, feeds, state, collect, flag, limit)

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        return [to_host(cast(torch.Tensor, tensor)) for tensor in tensors]

    def release(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to do: a tensor's memory goes with its last reference."""


def arguments(spec: GraphSpec, module: torch.nn.Module, feeds: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor | list[torch.Tensor]]:
    """The arguments of a module's forward from inputs by name; ports of a group become a list."""
    found: dict[str, torch.Tensor | list[torch.Tensor]] = {}
    for parameter in inspect.signature(module.forward).parameters:
        ports = [name for name, port in spec.inputs.items() if (port.group or name) == parameter]
        found[parameter] = feeds[parameter] if parameter in spec.inputs else [feeds[name] for name in ports]
    return found


def to_host(tensor: torch.Tensor) -> HostTensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    data = array(TYPECODES[dtype])
    data.frombytes(tensor.detach().cpu().contiguous().numpy().tobytes())
    return HostTensor(data, dtype, tuple(tensor.shape))
