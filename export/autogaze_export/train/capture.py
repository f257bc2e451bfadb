"""Many small kernels as one on CUDA: functions of tensors, recorded as a graph for each set of shapes, or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

Function = Callable[..., tuple[Tensor, ...]]
P = ParamSpec("P")
R = TypeVar("R")


class Captured:
    """The function, replayed on CUDA and called elsewhere. It must not look at values."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.recorded: dict[tuple[torch.Size, ...], tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], tuple[Tensor, ...]]] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if not inputs[0].is_cuda:
            return self.function(*inputs)
        key = tuple(tensor.shape for tensor in inputs)
        if key not in self.recorded:
            self.recorded[key] = self.record(tuple(tensor.clone() for tensor in inputs))
        graph, fixed, outputs = self.recorded[key]
        for target, tensor in zip(fixed, inputs, strict=True):
            target.copy_(tensor)
        graph.replay()
        return tuple(output.clone() for output in outputs)

    def record(self, fixed: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], tuple[Tensor, ...]]:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what is set up at a first call may not be recorded
            self.function(*fixed)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self.function(*fixed)
        return graph, fixed, outputs


class Fused(Generic[P, R]):
    """A decorator: the function compiled on CUDA, so that its elementwise steps become few kernels, and called as it is elsewhere."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.function, self.__doc__ = function, function.__doc__
        self.compiled = torch.compile(function, dynamic=True)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        first = cast(Tensor, args[0])
        return (self.compiled if first.is_cuda else self.function)(*args, **kwargs)
