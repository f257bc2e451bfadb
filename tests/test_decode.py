"""Windows: what a frame can see of the frames before it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autogaze_export.checkpoint import load_network
from autogaze_export.model import AutoGaze, Sequence
from autogaze_web.decode import NEVER
from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.model_folder import Model, read_model
from autogaze_web.pipeline import Gazer, SourceFrame
from autogaze_web.runtime import Limits, Tensor, floats
from autogaze_web.runtimes.native import NativeRuntime
from autogaze_web.settings import GazeSettings

FRAMES, WINDOW, BUDGET = 9, 3, 11  # a budget that cuts its last block


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return read_model(tiny_model)


@pytest.fixture(scope="module")
def clip() -> NDArray[np.uint8]:
    """Frames of a tile's size, so that nothing is resized."""
    return np.random.default_rng(5).integers(0, 256, (FRAMES, 64, 64, 3), dtype=np.uint8)


class Roomy(NativeRuntime):
    """As a GPU wants it: caches for a whole window, batches side by side."""

    limits = Limits(whole_windows=True, side_by_side=True)


class Hasty(NativeRuntime):
    """Runs a block ahead of each, and goes back: what it left in the tensors in place must not matter."""

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs = await super().run(graph, feeds)
        if graph.startswith("step"):
            after = {name.removeprefix("next."): tensor for name, tensor in outputs.items()}
            await super().run("step_next", {**feeds, **after, "threshold": self.upload(floats([NEVER]))})
        return outputs


def gaze_at(
    model: Model, clip: NDArray[np.uint8], step: int = 256, kind: type[NativeRuntime] = NativeRuntime, **settings: Any
) -> list[FrameGaze]:
    runtime = kind(model)
    gazer = Gazer(runtime, model.checkpoint, GazeSettings(**settings))
    gazer.shared.capacity_step = step

    async def go() -> list[FrameGaze]:
        height, width, _ = clip[0].shape
        return [await gazer.gaze(SourceFrame(i, i / 30, width, height, runtime.adopt(frame))) for i, frame in enumerate(clip)]

    return asyncio.run(go())


def embedded(network: AutoGaze, model: Model, clip: NDArray[np.uint8]) -> torch.Tensor:
    """Vision tokens of the whole clip, in one pass: [1, frames, tokens, hidden]."""
    from autogaze_web.resample import level_table

    levels = torch.tensor(level_table(model.checkpoint.preprocessor).data).reshape(3, 256)
    video = torch.stack([levels[c][torch.from_numpy(clip[..., c]).long()] for c in range(3)], dim=1)[None]
    with torch.no_grad():
        return network.embed(video)[0]


@torch.no_grad()
def rolling_reference(model: Model, clip: NDArray[np.uint8]) -> list[list[int]]:
    """The network's own decoding with positions that never start again; only the keys of the oldest frames are hidden."""
    network = load_network(model.checkpoint)
    embeds, state = embedded(network, model, clip), None
    state = Sequence.start(network, 1)
    ends = []
    for frame in range(len(clip)):
        state.forgotten = ends[frame - WINDOW] if frame >= WINDOW else 0
        state.gaze(embeds[:, frame], BUDGET, None)
        ends.append(state.seen.shape[1] + state.unfed.shape[1])  # a frame's last block is fed with the next one, and goes with its own
    return [ids[0].tolist() for ids in state.gaze_so_far.ids]


def test_rolling_sees_the_last_frames_and_nothing_older(model: Model, clip: NDArray[np.uint8]) -> None:
    found = gaze_at(model, clip, window="rolling", clip_len=WINDOW, max_gaze_tokens_each_frame=BUDGET)
    assert [gaze.ids[0] for gaze in found] == rolling_reference(model, clip)


def test_rolling_equals_a_chunk_until_the_window_is_full(model: Model, clip: NDArray[np.uint8]) -> None:
    rolling = gaze_at(model, clip[: WINDOW + 1], window="rolling", clip_len=WINDOW, max_gaze_tokens_each_frame=BUDGET)
    chunk = gaze_at(model, clip[: WINDOW + 1], window="chunk16", clip_len=WINDOW, max_gaze_tokens_each_frame=BUDGET)
    assert rolling[:WINDOW] == chunk[:WINDOW]
    assert rolling[WINDOW] != chunk[WINDOW]  # the chunk begins again


def test_chunks_know_nothing_of_each_other(model: Model, clip: NDArray[np.uint8]) -> None:
    whole = gaze_at(model, clip, clip_len=WINDOW, max_gaze_tokens_each_frame=BUDGET)
    alone = gaze_at(model, clip[WINDOW : 2 * WINDOW], clip_len=WINDOW, max_gaze_tokens_each_frame=BUDGET)
    assert whole[WINDOW : 2 * WINDOW] == alone


@pytest.mark.parametrize("window", ["chunk16", "rolling"])
@pytest.mark.parametrize("clip_len", [1, 2])
def test_the_shortest_windows_work(model: Model, clip: NDArray[np.uint8], window: str, clip_len: int) -> None:
    found = gaze_at(model, clip, window=window, clip_len=clip_len, max_gaze_tokens_each_frame=BUDGET)
    assert [gaze.slots for gaze in found] == [BUDGET] * FRAMES


def test_how_the_caches_grow_changes_nothing(model: Model, clip: NDArray[np.uint8]) -> None:
    settings = {"clip_len": 4, "max_gaze_tokens_each_frame": 20}  # every cell: the frame goes on after the caches have grown
    small, large = gaze_at(model, clip, step=64, **settings), gaze_at(model, clip, step=1024, **settings)
    assert [gaze.ids for gaze in small] == [gaze.ids for gaze in large]


@pytest.mark.parametrize("window", ["chunk16", "rolling"])
def test_a_state_can_be_gone_back_to(model: Model, window: str) -> None:
    clip = np.random.default_rng(6).integers(0, 256, (2 * WINDOW + 1, 100, 150, 3), dtype=np.uint8)  # six tiles, which stop apart
    settings = {"window": window, "clip_len": WINDOW, "mode": "tiled", "max_gaze_tokens_each_frame": 17, "step": 1024}
    plain = gaze_at(model, clip, **settings)
    losses = sorted(loss for gaze in plain for row in gaze.task_loss for loss in row)
    settings["task_loss_requirement"] = losses[len(losses) // 8]
    plain, hasty = gaze_at(model, clip, **settings), gaze_at(model, clip, kind=Hasty, **settings)
    assert any(not all(row) for gaze in plain for row in gaze.valid)
    assert hasty == plain


def test_a_list_of_ratios_sets_the_budget_of_each_frame_of_a_window(model: Model, clip: NDArray[np.uint8]) -> None:
    found = gaze_at(model, clip, clip_len=3, gazing_ratio=(0.1, 0.5, 1.0))
    assert [gaze.slots for gaze in found] == [2, 10, 20] * 3
    assert all(sorted(gaze.ids[0]) == list(range(20)) for gaze in found[2::3])  # every cell once


@pytest.mark.parametrize("settings", [{"clip_len": WINDOW}, {"window": "rolling", "clip_len": WINDOW}])
def test_ids_do_not_depend_on_how_caches_are_made_nor_on_company(model: Model, settings: dict[str, Any]) -> None:
    """Caches for a whole window, batches at the same time: as one block after the other."""
    clip = np.random.default_rng(6).integers(0, 256, (2 * WINDOW + 1, 100, 150, 3), dtype=np.uint8)  # six tiles
    plain = gaze_at(model, clip, mode="tiled", max_gaze_tokens_each_frame=33, **settings)
    roomy = gaze_at(model, clip, step=64, kind=Roomy, mode="tiled", max_gaze_tokens_each_frame=33, tile_batch=4, **settings)
    assert [gaze.ids for gaze in roomy] == [gaze.ids for gaze in plain]
    assert [gaze.valid for gaze in roomy] == [gaze.valid for gaze in plain]
