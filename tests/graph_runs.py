"""Runs a graph by name with arrays, in PyTorch or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from autogaze_export.graphs.specs import GraphSpec, Port, colour_specs, paint_specs, prepare_specs
from autogaze_web.config import ModelConfig
from autogaze_web.runtime import HostTensor
from autogaze_web.runtimes.native import NativeRuntime

Arrays = dict[str, NDArray[Any]]
RunGraph = Callable[[str, Arrays], Arrays]  # graph name, inputs by name -> outputs by name


def arrays(feeds: Mapping[str, HostTensor]) -> Arrays:
    """What the control plane feeds, as NumPy sees it."""
    return {name: np.frombuffer(feed.data, feed.dtype).reshape(feed.shape).copy() for name, feed in feeds.items()}


def run_with_torch(config: ModelConfig) -> RunGraph:
    """Graphs that need no weights, as eager PyTorch modules on the CPU."""
    network = cast(Any, SimpleNamespace(config=config))
    specs = {spec.name: spec for spec in [*colour_specs(), *prepare_specs(config), *paint_specs(config)]}
    modules = {name: spec.module(network).eval() for name, spec in specs.items()}

    def run(name: str, feeds: Arrays) -> Arrays:
        check_ports(specs[name], feeds)
        arguments: dict[str, Any] = {}
        for key, port in specs[name].inputs.items():
            tensor = torch.from_numpy(feeds[key])
            if port.group:
                arguments.setdefault(port.group, []).append(tensor)
            else:
                arguments[key] = tensor
        with torch.inference_mode():
            given = modules[name](**arguments)
        outputs = given if isinstance(given, tuple) else (given,)
        return {key: output.numpy() for key, output in zip(specs[name].outputs, outputs, strict=True)}

    return run


def check_ports(spec: GraphSpec, feeds: Arrays) -> None:
    """Feeds have the names, dtypes and dims that the graph is exported with; a dim's name means one size in all of them."""
    assert feeds.keys() == spec.inputs.keys()
    sizes: dict[str, int] = {}
    for name, port in spec.inputs.items():
        check_port(name, port, feeds[name], sizes)


def check_port(name: str, port: Port, feed: NDArray[Any], sizes: dict[str, int]) -> None:
    assert (str(feed.dtype), feed.ndim) == (port.dtype, len(port.shape)), name
    for dim, size in zip(port.shape, feed.shape, strict=True):
        factor, _, symbol = dim.rpartition("*") if isinstance(dim, str) else (str(dim), "", "")
        times = int(factor or 1)
        assert size == times * (sizes.setdefault(symbol, size // times) if symbol else 1), f"{name}: {dim} is {size}"


def run_with_onnx(runtime: NativeRuntime) -> RunGraph:
    """Exported graphs in ONNX Runtime."""

    def run(name: str, feeds: Arrays) -> Arrays:
        outputs = runtime.run_now(name, {key: runtime.adopt(feed) for key, feed in feeds.items()})
        return {key: runtime.numpy(tensor) for key, tensor in outputs.items()}

    return run
