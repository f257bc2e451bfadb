"""The parity report: it passes on what was exported, and fails, naming the stage, on what was not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest

from autogaze_export import parity
from autogaze_export.checkpoint import load_network
from autogaze_export.parity import ParityReport, verify, verify_model
from autogaze_export.torch_runtime import TorchRuntime
from autogaze_web.model_folder import Model, read_model
from autogaze_web.pipeline import Gazer, SourceFrame
from autogaze_web.runtime import HostTensor, Runtime, Tensor
from autogaze_web.runtimes.native import NativeRuntime
from autogaze_web.settings import GazeSettings


def test_a_fresh_export_passes_in_every_graph_and_tensor(tiny_model: Path) -> None:
    report = verify_model(tiny_model)
    assert report.passed, [tensor for tensor in report.tensors if not tensor.passed]
    model = read_model(tiny_model)
    checked = {(tensor.graph, tensor.tensor) for tensor in report.tensors}
    assert {(name, output) for name, graph in model.manifest.graphs.items() for output in graph.outputs} <= checked
    ids = next(tensor for tensor in report.tensors if (tensor.graph, tensor.tensor) == ("step_next", "next.block_ids"))
    assert ids.tolerance == 0  # integers are not near, they are equal


def test_no_cuda_is_not_run_and_not_passed(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    report = verify_model(tiny_model, "cuda")
    assert report.not_run and not report.passed and not report.to_json()["passed"]


class Faulty:
    """A runtime that spoils one output of one graph."""

    def __init__(self, runtime: Runtime, graph: str, output: str, spoil: Callable[[Any], Any]) -> None:
        self.runtime, self.graph, self.output, self.spoil = runtime, graph, output, spoil

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runtime, name)

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = await self.runtime.run(graph, feeds)
        if graph == self.graph:
            (value,) = await self.runtime.read([found[self.output]])
            spoiled = self.spoil(np.frombuffer(value.data, value.dtype).reshape(value.shape).copy()).astype(value.dtype)
            found[self.output] = self.runtime.upload(HostTensor(spoiled.tobytes(), value.dtype, spoiled.shape))
        return found


def spoil_first(amount: float) -> Callable[[Any], Any]:
    def spoil(values: Any) -> Any:
        values.flat[0] += amount
        return values

    return spoil


def report_with(tiny_model: Path, graph: str, output: str, spoil: Callable[[Any], Any]) -> ParityReport:
    model = read_model(tiny_model)
    faulty = cast(Runtime, Faulty(NativeRuntime(model), graph, output, spoil))
    return verify(model, TorchRuntime(load_network(model.checkpoint)), faulty)


@pytest.mark.parametrize(
    ("graph", "output", "spoil"),
    [
        ("rgb", "frame", lambda values: values ^ 1),
        ("rgb_turned", "frame", lambda values: values.swapaxes(0, 1)),
        ("prepare", "tiles", spoil_first(0.01)),
        ("prepare_tiled", "tiles", spoil_first(0.01)),
        ("encode", "vision", spoil_first(0.01)),
        ("step_first", "next.block_ids", spoil_first(1)),
        ("step_next", "task_loss", spoil_first(0.001)),
        ("step_next", "next.slots", spoil_first(1)),
        ("shift", "next.key_0", spoil_first(0.001)),
        ("grow", "next.key_valid", spoil_first(1)),
        ("paint", "mask_panel", lambda values: values ^ 1),
        ("paint_rows_blend", "row_stats", spoil_first(1)),
        ("encode", "vision", lambda values: values * np.nan),
        ("paint", "output_panel", lambda values: values[:-1]),
    ],
)  # fmt: skip
def test_a_fault_fails_the_report_and_is_named(tiny_model: Path, graph: str, output: str, spoil: Callable[[Any], Any]) -> None:
    report = report_with(tiny_model, graph, output, spoil)
    assert not report.passed
    assert [(tensor.graph, tensor.tensor) for tensor in report.tensors if not tensor.passed] == [(graph, output)]


def test_a_graph_that_was_never_run_fails(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "OUTPUT_MODES", ("interframe",))
    failed = [tensor.graph for tensor in verify_model(tiny_model).tensors if not tensor.passed]
    assert failed == ["paint_blend", "paint_image_blend", "paint_rows_blend"]


def test_graphs_serve_another_checkpoint_of_the_same_sizes(tiny_model: Path, other_tiny_checkpoint: Any) -> None:
    model = replace(read_model(tiny_model), checkpoint=other_tiny_checkpoint)
    report = verify(model, TorchRuntime(load_network(other_tiny_checkpoint)), NativeRuntime(model))
    assert report.passed
    assert ids_of(model) != ids_of(read_model(tiny_model))  # the weights do matter


def test_graphs_do_not_depend_on_the_weights_they_were_exported_with(noise_folder: Path) -> None:
    model = read_model(noise_folder)  # its norms are all ones: equal tensors, which an exporter likes to make one of
    taken = {name for graph in model.manifest.graphs.values() for name in graph.weights}
    assert taken == set(model.checkpoint.tensors)


def ids_of(model: Model) -> list[list[int]]:
    runtime = NativeRuntime(model)
    frame = np.random.default_rng(7).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    gazer = Gazer(runtime, model.checkpoint, GazeSettings(max_gaze_tokens_each_frame=12))
    return asyncio.run(gazer.gaze(SourceFrame(0, 0.0, 60, 50, runtime.adopt(frame)))).ids


def test_graph_files_hold_no_weights_no_paths_and_their_origin(tiny_model: Path) -> None:
    model = read_model(tiny_model)
    bound = set()
    for name, content in model.graphs.items():
        graph = onnx.load_from_string(content)
        for tensor in graph.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                bound.add(tensor.name)
                assert {entry.key: entry.value for entry in tensor.external_data} == {"location": tensor.name}
            else:
                assert len(tensor.raw_data) <= 4096, f"{name} holds {tensor.name}"
        facts = {entry.key: entry.value for entry in graph.metadata_props}
        assert facts.keys() >= {"source", "weights_sha256", "exporter", "opset", "dtype", "tolerance"}
        assert facts["weights_sha256"] == model.checkpoint.sha256
        assert b"/root" not in content and b"site-packages" not in content and b".py" not in content
        assert {node.domain for node in graph.graph.node} <= {"", "com.microsoft"}
    assert bound == set(model.checkpoint.tensors)
