"""Frames in, gaze and panels out: the one pipeline of the command line, the page and the gates."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from autogaze_web.checkpoint import Checkpoint
from autogaze_web.decode import FrameGaze, Shared, TileDecoder, tile_batch
from autogaze_web.errors import VideoError
from autogaze_web.layout import Layout
from autogaze_web.metrics import FrameNumbers, frame_numbers
from autogaze_web.paint import PaintPlan, PaintSettings
from autogaze_web.runtime import Runtime, Tensor
from autogaze_web.settings import GazeSettings, check_paint
from autogaze_web.target import target_tiling
from autogaze_web.tiles import Tiling, plan_tiles, prepare_feeds

WIDEST = 11_008  # pixels: the squared error of a row of three channels fits 32 bits


@dataclass(frozen=True)
class SourceFrame:
    """One frame of a video, already in the runtime."""

    index: int
    time_s: float
    width: int
    height: int
    pixels: Tensor  # uint8 [height, width, 4], opaque; released by whoever made it


class Gazer:
    """Looks at frames one after the other. A change of size starts again, with a new tiling and a new window."""

    def __init__(self, runtime: Runtime, checkpoint: Checkpoint, settings: GazeSettings) -> None:
        self.runtime, self.checkpoint, self.config, self.settings = runtime, checkpoint, checkpoint.config, settings
        self.frames = settings.frames_each_window(self.config)
        self.budgets, self.threshold = settings.stop_rule(self.config)
        self.shared = Shared(runtime, self.config)
        self.tiling: Tiling | None = None
        self.feeds: dict[str, Tensor] = {}
        self.decoders: list[TileDecoder] = []
        self.seen = 0  # frames of this size
        self.window = -1  # number of the current window; rolling has one a size

    async def gaze(self, frame: SourceFrame) -> FrameGaze:
        """The gaze of all tiles of the next frame, row-major over tiles."""
        feeds = self.begin(frame.width, frame.height)
        if self.seen == 0 or (self.settings.window == "chunk16" and self.seen % self.frames == 0):
            self.window += 1
        tiles = (await self.runtime.run(self.prepare_graph, {"frame": frame.pixels, **feeds}))["tiles"]
        budget = self.budgets[self.seen % self.frames]
        try:
            parts = [await decoder.gaze(tiles, budget) for decoder in self.decoders]
            for decoder in self.decoders:
                await decoder.close_frame(max(other.blocks for other in self.decoders))
        finally:
            self.runtime.release([tiles])
        self.seen += 1
        return join_tiles(parts, self.config.eos_token)

    def begin(self, width: int, height: int) -> dict[str, Tensor]:
        """Be ready for frames of a size; -> what `prepare_graph` takes besides the frame."""
        if self.tiling is None or (width, height) != (self.tiling.width, self.tiling.height):
            self._start(width, height)
        return self.feeds

    @property
    def prepare_graph(self) -> str:
        """The graph that cuts frames of this size into tiles."""
        return "prepare_tiled" if self.tiling is not None and self.tiling.mode == "tiled" else "prepare"

    def release(self) -> None:
        """Give back every tensor."""
        for decoder in self.decoders:
            decoder.release()
        self.shared.release()
        self.runtime.release(list(self.feeds.values()))
        self.decoders, self.feeds, self.tiling = [], {}, None

    def _start(self, width: int, height: int) -> None:
        self.release()
        if self.settings.target_scales is not None:
            self.tiling = target_tiling(self.settings, width, height, self.config)
        else:
            self.tiling = plan_tiles(self.settings.mode, width, height, self.config)
        feeds = prepare_feeds(self.tiling, self.config, self.checkpoint.preprocessor)
        self.feeds = {name: self.runtime.upload(tensor) for name, tensor in feeds.items()}
        batch = self.settings.tile_batch or tile_batch(self.config, self.budgets, self.tiling.tiles)
        self.decoders = [
            TileDecoder(self.shared, first, min(batch, self.tiling.tiles - first), self.settings.window, self.frames, self.threshold)
            for first in range(0, self.tiling.tiles, batch)
        ]
        self.seen = 0


def join_tiles(parts: Iterable[FrameGaze], end_token: int) -> FrameGaze:
    """The batches of a frame as one; padded to the longest, as if all tiles had run in lock-step."""
    rows = [row for part in parts for row in zip(part.ids, part.valid, part.probs, part.task_loss, strict=True)]
    slots, losses = max(len(row[0]) for row in rows), max(len(row[3]) for row in rows)
    return FrameGaze(
        ids=[row[0] + [end_token] * (slots - len(row[0])) for row in rows],
        valid=[row[1] + [False] * (slots - len(row[1])) for row in rows],
        probs=[row[2] + [0.0] * (slots - len(row[2])) for row in rows],
        task_loss=[row[3] + [math.nan] * (losses - len(row[3])) for row in rows],
    )


@dataclass(frozen=True)
class Panels:
    """The painted frame; tensors uint8 [height, width, 4], to be released by who takes them."""

    mask: Tensor
    output: Tensor
    numbers: FrameNumbers
    keyframe: bool  # whether the canvas began anew


class Painter:
    """Paints frames one after the other, keeping the canvas."""

    def __init__(self, runtime: Runtime, layout: Layout, settings: PaintSettings) -> None:
        self.runtime, self.layout, self.settings = runtime, layout, check_paint(settings)
        self.plan: PaintPlan | None = None
        self.feeds: dict[str, Tensor] = {}
        self.flags: dict[bool, dict[str, Tensor]] = {}  # by whether the whole frame is updated
        self.canvas: Tensor | None = None  # where there is one: full-blend keeps nothing
        self.painted = 0  # frames since the canvas began

    async def paint(self, frame: SourceFrame, tiling: Tiling, gaze: FrameGaze) -> Panels:
        """Draw a frame and what was looked at in it."""
        plan = self.plan if self.plan is not None and self.plan.tiling == tiling else self._start(tiling)
        period = self.settings.keyframe_duration
        keyframe = self.painted == 0 or (period > 0 and self.painted % period == 0)
        whole = keyframe or self.settings.full_blend
        cells = self.runtime.upload(plan.cells([gaze.cells(tile) for tile in range(tiling.tiles)]))
        feeds = {"frame": frame.pixels, "cells": cells, **self.flags[whole], **self.feeds}
        if self.canvas is not None:
            feeds["canvas"] = self.canvas
        try:
            painted = await self.runtime.run(self.settings.graph, feeds)
        finally:
            self.runtime.release([cells])
        if self.canvas is not None:
            self.runtime.release([self.canvas])
            self.canvas = painted["next.canvas"]
        try:
            (stats,) = await self.runtime.read([painted["row_stats"]])
        finally:
            self.runtime.release([painted["row_stats"]])
        self.painted += 1
        numbers = frame_numbers([int(value) for value in stats.data], tiling.width, tiling.height, whole)
        return Panels(painted["mask_panel"], painted["output_panel"], numbers, keyframe)

    def release(self) -> None:
        """Give back every tensor."""
        flags = [tensor for each in self.flags.values() for tensor in each.values()]
        self.runtime.release([*self.feeds.values(), *flags, *([self.canvas] if self.canvas is not None else [])])
        self.feeds, self.flags, self.canvas, self.plan, self.painted = {}, {}, None, None, 0

    def _start(self, tiling: Tiling) -> PaintPlan:
        self.release()
        if tiling.width > WIDEST:
            raise VideoError(
                f"Frames of {tiling.width}x{tiling.height} pixels are too wide to paint; {WIDEST} is the most. Scale the video down."
            )
        plan = PaintPlan(tiling, self.layout, self.settings)
        self.feeds = {name: self.runtime.upload(tensor) for name, tensor in plan.feeds().items()}
        for whole in (False, True):
            self.flags[whole] = {name: self.runtime.upload(tensor) for name, tensor in plan.flags(whole).items()}
        if not self.settings.full_blend:
            self.canvas = self.runtime.zeros("int32", (tiling.height, tiling.width, 4))
        self.plan = plan
        return plan


@dataclass(frozen=True)
class FrameResult:
    """One frame, looked at and painted."""

    frame: SourceFrame
    window: int
    tiling: Tiling
    gaze: FrameGaze
    panels: Panels
    tokens_by_scale: list[int]  # valid tokens of all tiles


async def render(frames: AsyncGenerator[SourceFrame, None], gazer: Gazer, painter: Painter) -> AsyncGenerator[FrameResult, None]:
    """Look at every frame and paint it, one at a time: nothing but the caches, the canvas and one frame is held.

    `frames` is closed at the end, also at an early one: whoever stops must aclose this generator.
    """
    async with aclosing(frames):
        async for frame in frames:
            gaze = await gazer.gaze(frame)
            assert gazer.tiling is not None
            panels = await painter.paint(frame, gazer.tiling, gaze)
            yield FrameResult(frame, gazer.window, gazer.tiling, gaze, panels, tokens_by_scale(gaze, painter.layout))


def tokens_by_scale(gaze: FrameGaze, layout: Layout) -> list[int]:
    """Valid tokens of all tiles, by scale."""
    counts = [0] * len(layout.grids)
    for tile in range(len(gaze.ids)):
        for token in gaze.cells(tile):
            counts[layout.locate(token)[0]] += 1
    return counts
