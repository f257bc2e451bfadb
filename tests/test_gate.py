"""Lane 1 of the parity gate: CPython with ONNX Runtime against the CUDA fixtures; and the gate bites, naming the stage."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import pytest

from autogaze_web.checkpoint import Checkpoint
from autogaze_web.decode import SLOT
from autogaze_web.gate import files, fixtures
from autogaze_web.gate.cases import BUILT_IN, CASES, NOISE, Case
from autogaze_web.gate.verdict import CaseVerdict, judge, judge_case
from autogaze_web.manifest import MANIFEST
from autogaze_web.model_folder import GRAPHS, open_model
from autogaze_web.runtime import HostTensor, Loop, Runtime, Tensor, step_by_step
from autogaze_web.runtimes.native import NativeRuntime

BY_NAME = {case.name: case for case in CASES}


@cache
def committed() -> fixtures.FixtureSet:
    return files.fixtures()


@cache
def models() -> dict[str, tuple[NativeRuntime, Checkpoint]]:
    """Both models on the shipped graphs."""
    graphs = {path.name: path.read_bytes() for path in files.MODEL.glob("*.onnx")}
    manifest = (files.MODEL / MANIFEST).read_bytes()
    opened = {name: open_model(name, manifest, graphs, checkpoint) for name, checkpoint in files.checkpoints().items()}
    return {name: (NativeRuntime(model), model.checkpoint) for name, model in opened.items()}


def judged(case: Case, runtime: Runtime) -> CaseVerdict:
    return asyncio.run(judge_case(case, "cpu", committed(), runtime, models()[case.model][1]))


def failures(verdict: CaseVerdict) -> dict[tuple[str, str], str]:
    return {(tensor.stage, tensor.tensor): f"{tensor.max_difference} {tensor.note}" for tensor in verdict.tensors if not tensor.passed}


@pytest.mark.parametrize("name", BY_NAME)
def test_onnx_runtime_computes_what_cuda_computed(name: str) -> None:
    case = BY_NAME[name]
    committed().check_weights(case.model, models()[case.model][1].sha256)
    verdict = judged(case, models()[case.model][0])
    assert not failures(verdict), verdict.note
    assert verdict.passed
    assert {"rgb", "encode", "step", "numbers"} < {tensor.stage for tensor in verdict.tensors}


def test_the_fixtures_come_from_a_gpu_and_carry_no_path() -> None:
    made = committed().made
    assert made["device"] == "cuda", f"they were made on {made['device']}. {fixtures.REMAKE}"
    assert made["tf32"] is False
    assert made["gpu"]
    assert b"/work" not in files.fixture_files()[fixtures.INDEX]
    assert sum(map(len, files.fixture_files().values())) < 6e6


def test_the_cases_reach_what_they_are_for() -> None:
    def blocks(case: str) -> list[list[int]]:
        return [list(kept.values) for kept in committed().cases[case].kept["step", "block_valid"]]

    assert any(0 < sum(block) < 10 and block[0] for block in blocks("ragged")), "no stop in mid-block"
    rows = [[sum(block[row * 10 : row * 10 + 10]) for row in range(6)] for block in blocks("tiled")]
    assert any(0 in row and max(row) > 0 for row in rows), "all tiles stop together"


class Faulty:
    """A Runtime in which one feed of one graph is changed."""

    def __init__(self, runtime: Runtime, graphs: Sequence[str], feed: str, change: Callable[[HostTensor], HostTensor]) -> None:
        self.runtime, self.graphs, self.feed, self.change = runtime, graphs, feed, change
        self.limits = runtime.limits

    backend = "faulty"

    def upload(self, tensor: HostTensor) -> Tensor:
        return self.runtime.upload(tensor)

    def zeros(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        return self.runtime.zeros(dtype, shape)

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if graph in self.graphs:
            (values,) = await self.runtime.read([feeds[self.feed]])
            feeds = {**feeds, self.feed: self.runtime.upload(self.change(values))}
        return await self.runtime.run(graph, feeds)

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        return await step_by_step(self, first, then, feeds, state, collect, flag, limit)

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        return await self.runtime.read(tensors)

    def release(self, tensors: Sequence[Tensor]) -> None:
        self.runtime.release(tensors)


def changed(place: int, by: float) -> Callable[[HostTensor], HostTensor]:
    """Adds to one element."""

    def change(tensor: HostTensor) -> HostTensor:
        data = array(memoryview(tensor.data).format, tensor.data)  # type: ignore[arg-type]
        data[place] += by if isinstance(data[place], float) else int(by)
        return HostTensor(data, tensor.dtype, tensor.shape)

    return change


def raised(by: float) -> Callable[[HostTensor], HostTensor]:
    """Adds to every element."""
    return lambda tensor: HostTensor(array("f", [value + by for value in tensor.data]), tensor.dtype, tensor.shape)


def swapped_row(tensor: HostTensor) -> HostTensor:
    """A table of angles whose rows begin one late: every position is off by one."""
    wide = tensor.shape[1]
    data = array("f", tensor.data)  # type: ignore[arg-type]
    return HostTensor(data[wide:] + data[-wide:], tensor.dtype, tensor.shape)


STEPS, STAGES = ("step_first", "step_next"), ("paint", "paint_rows", "paint_deduplicated", "paint_rows_deduplicated")
PAINTS = tuple(graph for graph in GRAPHS if graph.startswith("paint"))
FAULTS = {  # what is planted: case, graphs, feed, change, the stage that must be named
    "a resize tap": ("short", ("prepare",), "column_weights", changed(40, 300.0), ("prepare", "tiles")),
    "a position id": ("ragged", STEPS, "cos", swapped_row, ("step", "probs")),
    "a stop rule off by one": ("ragged", ("step_next",), "shut", raised(-SLOT), ("step", "block_valid")),
    "a threshold": ("ragged", ("step_next",), "threshold", changed(0, 0.1), ("step", "block_valid")),
    "a mask cell": ("painted", PAINTS, "cells", changed(3 * 14 * 14 + 30, 1.0), ("paint", "mask_panel")),
    "a blend": ("painted", ("paint_image",), "shown", changed(0, -0.02), ("paint", "mask_panel")),
    "a colour": ("short", ("rgb",), "blue_gain", changed(1, 2**-6), ("rgb", "frame")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_gate_bites_and_names_the_stage(fault: str) -> None:
    name, graphs, feed, change, stage = FAULTS[fault]
    case = BY_NAME[name]
    verdict = judged(case, Faulty(models()[case.model][0], graphs, feed, change))
    assert not verdict.passed
    found = list(failures(verdict))
    assert stage in found
    order = ["rgb", "prepare", "prepare_tiled", "encode", "step", *STAGES]
    assert min(order.index(graph) for graph, _ in found if graph in order) == order.index(stage[0]), "an earlier stage is blamed"


def test_another_id_is_told_with_its_margin_and_still_fails() -> None:
    case = BY_NAME["ragged"]
    verdict = judged(case, Faulty(models()[NOISE][0], STEPS, "cos", swapped_row))
    assert not verdict.passed
    assert "smallest lead" in verdict.note


def test_fixtures_of_other_weights_are_stale_and_say_how_to_remake_them() -> None:
    stale = replace(committed(), weights=committed().weights | {BUILT_IN: "0" * 64})
    with pytest.raises(fixtures.StaleError, match="autogaze-web fixtures --device cuda"):
        asyncio.run(judge("lane", "cpu", stale, models(), [BY_NAME["short"]]))


def test_no_case_is_no_pass() -> None:
    assert asyncio.run(judge("lane", "cpu", committed(), {NOISE: models()[NOISE]}, [BY_NAME["short"]])).status == "not run"


def test_a_set_reads_back_as_it_was_written() -> None:
    again = fixtures.read(fixtures.write(committed()))
    assert again == committed()
