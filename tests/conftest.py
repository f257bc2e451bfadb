"""Fixtures: `graphs` runs a graph by name, so that one test holds for every way of running it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import upstream_traces
import video_files
from autogaze_export.checkpoint import load_network
from autogaze_export.model import AutoGaze
from autogaze_export.onnx_export import write_model
from autogaze_web.checkpoint import Checkpoint, open_checkpoint
from autogaze_web.config import ModelConfig, PreprocessorConfig, parse_config, parse_preprocessor
from autogaze_web.model_folder import read_model
from autogaze_web.runtimes.native import NativeRuntime
from graph_runs import RunGraph, run_with_onnx, run_with_torch
from tiny_checkpoint import tiny_files

UPSTREAM = Path(__file__).parent / "data" / "upstream"


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
