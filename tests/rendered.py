"""Runs of render.py and of the pipeline without it, for the tests that compare them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.gif import Pixels
from autogaze_web.metrics import FrameNumbers
from autogaze_web.model_folder import read_model
from autogaze_web.paint import PaintSettings
from autogaze_web.pipeline import Gazer, Painter, SourceFrame
from autogaze_web.record import RunRecord
from autogaze_web.render import RunFiles, Stages, TimedGazer, TimedPainter
from autogaze_web.runtimes.native import NativeRuntime
from autogaze_web.settings import GazeSettings
from autogaze_web.whole_files import whole_files
from slow_paint import opaque
from video_files import noise

ALL = {"metrics.json", "trace.json", "input.gif", "mask.gif", "output.gif"}
FEW = GazeSettings(max_gaze_tokens_each_frame=6)


def loaded(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(metrics, trace), both strict JSON."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    metrics, trace = (json.loads((folder / name).read_text(), parse_constant=refuse) for name in ("metrics.json", "trace.json"))
    return metrics, trace


def gif_frames(path: Path) -> tuple[tuple[int, int], int]:
    with Image.open(path) as image:
        return image.size, int(getattr(image, "n_frames", 1))


def directly(model: Path, pictures: list[Pixels], gaze: GazeSettings, paint: PaintSettings) -> Iterator[tuple[FrameGaze, FrameNumbers]]:
    """What the pipeline gives without any of render.py."""
    opened = read_model(model)
    runtime = NativeRuntime(opened)
    gazer, painter = Gazer(runtime, opened.checkpoint, gaze), Painter(runtime, opened.checkpoint.config.layout, paint)
    for index, pixels in enumerate(map(opaque, pictures)):
        frame = SourceFrame(index, 0.0, pixels.shape[1], pixels.shape[0], runtime.adopt(pixels))
        seen = asyncio.run(gazer.gaze(frame))
        assert gazer.tiling is not None
        yield seen, asyncio.run(painter.paint(frame, gazer.tiling, seen)).numbers


@contextmanager
def opened_run(model_folder: Path, folder: Path, stages: Stages) -> Iterator[tuple[NativeRuntime, Gazer, Painter, RunFiles]]:
    """The parts of a run, for frames that come from no video."""
    model, gaze, paint = read_model(model_folder), GazeSettings(mode="tiled", gazing_ratio=0.2), PaintSettings()
    runtime, config = NativeRuntime(model), model.checkpoint.config
    record = RunRecord("made-up", 10.0, model.name, model.checkpoint.sha256, config, gaze, paint, runtime.backend, {})
    with whole_files(folder) as partial, ExitStack() as stack:
        files = RunFiles(partial, record, 100, runtime, stack)
        yield runtime, TimedGazer(stages, runtime, model, gaze), TimedPainter(stages, runtime, model, paint), files


async def made_up(runtime: NativeRuntime, sizes: list[tuple[int, int]]) -> AsyncGenerator[SourceFrame, None]:
    for index, (width, height) in enumerate(sizes):
        (picture,) = noise(1, width, height)
        yield SourceFrame(index, index / 10, width, height, runtime.adopt(opaque(picture)))
