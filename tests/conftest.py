"""Fixtures: `graphs` runs a graph by name, so that one test holds for every way of running it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import upstream_traces
import video_files
from autogaze_export.checkpoint import load_network
from autogaze_export.graphs.specs import GraphSpec, Port, Sizes, colour_specs, paint_specs, prepare_specs
from autogaze_export.model import AutoGaze
from autogaze_export.onnx_export import write_model
from autogaze_web.checkpoint import Checkpoint, open_checkpoint
from autogaze_web.config import ModelConfig, PreprocessorConfig, parse_config, parse_preprocessor
from autogaze_web.model_folder import read_model
from autogaze_web.runtime import HostTensor
from autogaze_web.runtimes.native import NativeRuntime
from tiny_checkpoint import tiny_files

Arrays = dict[str, NDArray[Any]]
RunGraph = Callable[[str, Arrays], Arrays]  # graph name, inputs by name -> outputs by name

UPSTREAM = Path(__file__).parent / "data" / "upstream"


def arrays(feeds: Mapping[str, HostTensor]) -> Arrays:
    """What the control plane feeds, as NumPy sees it."""
    return {name: np.frombuffer(feed.data, feed.dtype).reshape(feed.shape).copy() for name, feed in feeds.items()}


def run_with_torch(config: ModelConfig) -> RunGraph:
    """Graphs that need no weights, as eager PyTorch modules on the CPU."""
    network = cast(Any, SimpleNamespace(config=config))
    specs = {spec.name: spec for spec in [*colour_specs(), *prepare_specs(config), *paint_specs(Sizes(config))]}
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


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    """Upstream's configuration."""
    return parse_config((UPSTREAM / "config.json").read_bytes())


@pytest.fixture(scope="session")
def preprocessor() -> PreprocessorConfig:
    """Upstream's preprocessor."""
    return parse_preprocessor((UPSTREAM / "preprocessor_config.json").read_bytes())


@pytest.fixture(scope="session", params=["torch", "onnx"])
def graphs(request: pytest.FixtureRequest, config: ModelConfig) -> RunGraph:
    """Runs a graph of upstream's configuration: graphs(name, feeds) -> outputs."""
    return run_with_torch(config) if request.param == "torch" else run_with_onnx(request.getfixturevalue("noise_onnx"))


@pytest.fixture(scope="session")
def noise() -> Checkpoint:
    """The checkpoint of upstream's traces: the real sizes, seeded noise for weights."""
    return open_checkpoint(upstream_traces.checkpoint_files())


@pytest.fixture(scope="session")
def noise_network(noise: Checkpoint) -> AutoGaze:
    """Its network; AUTOGAZE_TEST_DEVICE=cuda puts the PyTorch half of every comparison on a GPU."""
    return load_network(noise, os.environ.get("AUTOGAZE_TEST_DEVICE", "cpu"))


@pytest.fixture(scope="session")
def noise_folder(noise: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That checkpoint, exported once for all tests."""
    folder = tmp_path_factory.mktemp("models") / "noise"
    write_model(noise, "seeded noise of upstream's sizes", folder)
    return folder


@pytest.fixture(scope="session")
def noise_onnx(noise_folder: Path) -> NativeRuntime:
    """Its graphs in ONNX Runtime."""
    return NativeRuntime(read_model(noise_folder))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of tiny_checkpoint's sizes, exported once for all tests."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_model(open_checkpoint(tiny_files()), "seeded noise", folder)
    return folder


@pytest.fixture(scope="session")
def other_tiny_checkpoint() -> Checkpoint:
    """Other weights of the same sizes as tiny_model's."""
    return open_checkpoint(tiny_files(2))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A small lossless clip of five frames."""
    return video_files.write(tmp_path / "clip.mkv", video_files.noise(5))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder with a checkpoint of tiny_model's sizes, not exported."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name, content in tiny_files().items():
        (folder / name).write_bytes(content)
    return folder
