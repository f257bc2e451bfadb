"""The pipeline gives back what it takes: no leak, no second release, no use after release. A browser's GPU forgives none of these."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from autogaze_web.model_folder import Model, read_model
from autogaze_web.paint import PaintSettings
from autogaze_web.pipeline import Gazer, Painter, SourceFrame, render
from autogaze_web.runtime import HostTensor
from autogaze_web.settings import GazeSettings
from slow_paint import opaque
from strict_runtime import Strict

CASES = {
    "resize": (GazeSettings(), [(60, 50)] * 5),
    "a frame longer than the first capacity": (GazeSettings(max_gaze_tokens_each_frame=20), [(60, 50)] * 4),
    "tiles in batches": (GazeSettings(mode="tiled", tile_batch=2, max_gaze_tokens_each_frame=11), [(150, 70)] * 5),
    "rolling": (GazeSettings(window="rolling", clip_len=2, max_gaze_tokens_each_frame=11), [(60, 50)] * 5),
    "rolling over one frame": (GazeSettings(window="rolling", clip_len=1, max_gaze_tokens_each_frame=5), [(60, 50)] * 3),
    "the size changes": (GazeSettings(mode="tiled", max_gaze_tokens_each_frame=5), [(60, 50), (60, 50), (70, 90), (60, 50)]),
}


def render_all(runtime: Strict, model: Model, settings: GazeSettings, sizes: list[tuple[int, int]]) -> list[int]:
    """Render frames of some sizes and give everything back; -> how many handles were live after each frame."""
    gazer = Gazer(runtime, model.checkpoint, settings)
    gazer.shared.capacity_step = 64
    painter = Painter(runtime, model.checkpoint.config.layout, PaintSettings())
    live: list[int] = []

    async def frames() -> AsyncGenerator[SourceFrame, None]:
        for index, (width, height) in enumerate(sizes):
            pixels = opaque(np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8))
            tensor = runtime.upload(HostTensor(pixels.tobytes(), "uint8", pixels.shape))
            try:
                yield SourceFrame(index, index / 30, width, height, tensor)
            finally:
                runtime.release([tensor])

    async def go() -> None:
        async with aclosing(render(frames(), gazer, painter)) as results:
            async for result in results:
                runtime.release([result.panels.mask, result.panels.output])
                live.append(len(runtime.live))

    try:
        asyncio.run(go())
    finally:
        gazer.release()
        painter.release()
    return live


@pytest.mark.parametrize("case", CASES)
def test_everything_is_given_back_once(case: str, tiny_model: Path) -> None:
    model = read_model(tiny_model)
    runtime = Strict(model)
    live = render_all(runtime, model, *CASES[case])
    assert len(runtime.live) == 0
    assert max(live[1:]) - min(live[1:]) <= 1  # nothing gathers; a frame that outgrows its caches began with another count of slots


@pytest.mark.parametrize("case", ["tiles in batches", "rolling"])
def test_everything_is_given_back_when_a_run_fails(case: str, tiny_model: Path) -> None:
    model = read_model(tiny_model)
    whole = Strict(model)
    render_all(whole, model, *CASES[case])
    for fail_at in range(1, whole.runs + 1, 3):
        runtime = Strict(model, fail_at)
        with pytest.raises(RuntimeError, match="device lost"):
            render_all(runtime, model, *CASES[case])
        assert len(runtime.live) == 0, f"failing at run {fail_at} leaves {len(runtime.live)} handles"
