"""Frames in, gaze and panels out: the one pipeline of the command line, the page and the gates."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from autogaze_web.ahead import ahead
from autogaze_web.caches import Shared, tile_batch
from autogaze_web.checkpoint import Checkpoint
from autogaze_web.decode import TileDecoder
from autogaze_web.errors import VideoError
from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.layout import Layout
from autogaze_web.line import Line, Waiting
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


@dataclass
class Size:
    """What frames of one size need: how they are cut, and who decodes their tiles."""

    tiling: Tiling
    feeds: dict[str, Tensor]  # of `prepare_graph`, besides the frame
    decoders: list[TileDecoder]
    line: Line
    seen: int = 0  # frames

    @property
    def prepare_graph(self) -> str:
        """The graph that cuts frames of this size into tiles."""
        return "prepare_tiled" if self.tiling.mode == "tiled" else "prepare"

    def release(self, runtime: Runtime) -> None:
        """Give back every tensor."""
        for decoder in self.decoders:
            decoder.release()
        runtime.release(list(self.feeds.values()))


@dataclass(frozen=True)
class Seen:
    """A frame that is prepared and encoded, and not yet looked at."""

    size: Size
    window: int  # its number
    waiting: Waiting


class Gazer:
    """Looks at frames one after the other. A change of size starts again, with a new tiling and a new window."""

    def __init__(self, runtime: Runtime, checkpoint: Checkpoint, settings: GazeSettings) -> None:
        self.runtime, self.checkpoint, self.config, self.settings = runtime, checkpoint, checkpoint.config, settings
        self.frames = settings.frames_each_window(self.config)
        self.budgets, self.threshold = settings.stop_rule(self.config)
        self.shared = Shared(runtime, self.config)
        self.sizes: list[Size] = []  # two, while the last frame of the first is looked at
        self.windows = 0  # that have begun; rolling has one a size

    @property
    def tiling(self) -> Tiling | None:
        """Of the frames that are seen now."""
        return self.sizes[-1].tiling if self.sizes else None

    @property
    def window(self) -> int:
        """The number of the window that is seen now."""
        return self.windows - 1

    async def gaze(self, frame: SourceFrame) -> FrameGaze:
        """The gaze of all tiles of the next frame, row-major over tiles."""
        seen = await self.see(frame)
        await self.begin_with(seen)
        return await self.choose(seen)

    async def see(self, frame: SourceFrame) -> Seen:
        """Prepare and encode the next frame, for `begin_with` or `overlook`; frames before may still be being looked at."""
        size = self.begin(frame.width, frame.height)
        first = size.seen == 0 or (self.settings.window == "chunk16" and size.seen % self.frames == 0)
        tiles = (await self.runtime.run(size.prepare_graph, {"frame": frame.pixels, **size.feeds}))["tiles"]
        visions: list[Tensor] = []
        try:
            for decoder in size.decoders:
                visions.append(await decoder.see(tiles, first))  # noqa: PERF401 -- those of before are released when one fails
        except BaseException:
            self.runtime.release(visions)
            raise
        finally:
            self.runtime.release([tiles])
        self.windows += first
        size.seen += 1
        return Seen(size, self.windows - 1, Waiting(visions, self.budgets[(size.seen - 1) % self.frames], first))

    async def begin_with(self, seen: Seen) -> None:
        """Begin to look at a frame that was seen, in the order in which they were; it is `choose` that waits for it."""
        try:
            await seen.size.line.begin(seen.waiting)
        except BaseException:
            self.overlook(seen)
            raise

    async def choose(self, seen: Seen) -> FrameGaze:
        """Look at a frame that was begun with, in the order in which they were."""
        while self.sizes[0] is not seen.size:
            self.sizes.pop(0).release(self.runtime)
        try:
            parts = await seen.size.line.end()
            decoders = [decoder for size in self.sizes for decoder in size.decoders]
            self.shared.keep({decoder.capacity for decoder in decoders})
        finally:
            self.overlook(seen)
        return join_tiles(parts, self.config.eos_token)

    def overlook(self, seen: Seen) -> None:
        """Give a frame back that will not be looked at; none can be after it."""
        self.runtime.release(seen.waiting.visions)

    def begin(self, width: int, height: int) -> Size:
        """Be ready for frames of a size."""
        if not self.sizes or (width, height) != (self.sizes[-1].tiling.width, self.sizes[-1].tiling.height):
            self.sizes.append(self._start(width, height))
        return self.sizes[-1]

    def release(self) -> None:
        """Give back every tensor."""
        for size in self.sizes:
            size.release(self.runtime)
        self.shared.release()
        self.sizes = []

    def _start(self, width: int, height: int) -> Size:
        if self.settings.target_scales is not None:
            tiling = target_tiling(self.settings, width, height, self.config)
        else:
            tiling = plan_tiles(self.settings.mode, width, height, self.config)
        feeds = prepare_feeds(tiling, self.config, self.checkpoint.preprocessor)
        batch = self.settings.tile_batch or tile_batch(self.config, self.budgets, tiling.tiles, self.runtime.limits)
        decoders = [
            TileDecoder(self.shared, first, min(batch, tiling.tiles - first), self.frames, self.threshold)
            for first in range(0, tiling.tiles, batch)
        ]
        return Size(tiling, {name: self.runtime.upload(tensor) for name, tensor in feeds.items()}, decoders, Line(decoders))


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


@dataclass(frozen=True)
class Gazed:
    """A frame that was looked at, and the seconds that it took to decode and encode it, and to choose."""

    frame: SourceFrame  # its pixels are released by who takes it
    seen: Seen
    gaze: FrameGaze
    decode_s: float
    gaze_s: float


async def gazed(frames: AsyncGenerator[SourceFrame, None], gazer: Gazer) -> AsyncGenerator[Gazed, None]:
    """Look at every frame. While one is used the next is looked at, and the one after decoded and encoded: a device always has work.

    Takes over the pixels of `frames`, and closes it at the end, also at an early one: whoever stops must aclose this generator.
    """
    release = gazer.runtime.release
    async with aclosing(ahead(_chosen(frames, gazer), lambda item: release([item.frame.pixels]))) as items:
        async for item in items:
            yield item


async def _chosen(frames: AsyncGenerator[SourceFrame, None], gazer: Gazer) -> AsyncGenerator[Gazed, None]:
    async with aclosing(ahead(_begun(frames, gazer), partial(_discard, gazer))) as items:
        async for frame, seen, decode_s in items:
            begin = perf_counter()
            try:
                gaze = await gazer.choose(seen)
            except BaseException:
                gazer.runtime.release([frame.pixels])
                raise
            yield Gazed(frame, seen, gaze, decode_s, perf_counter() - begin)


async def _begun(frames: AsyncGenerator[SourceFrame, None], gazer: Gazer) -> AsyncGenerator[tuple[SourceFrame, Seen, float], None]:
    async with aclosing(ahead(_seen(frames, gazer), partial(_discard, gazer))) as items:
        async for frame, seen, decode_s in items:
            try:
                await gazer.begin_with(seen)
            except BaseException:
                gazer.runtime.release([frame.pixels])
                raise
            yield frame, seen, decode_s


def _discard(gazer: Gazer, item: tuple[SourceFrame, Seen, float]) -> None:
    gazer.overlook(item[1])
    gazer.runtime.release([item[0].pixels])


async def _seen(frames: AsyncGenerator[SourceFrame, None], gazer: Gazer) -> AsyncGenerator[tuple[SourceFrame, Seen, float], None]:
    begin = perf_counter()
    async with aclosing(frames):
        async for frame in frames:
            try:
                seen = await gazer.see(frame)
            except BaseException:
                gazer.runtime.release([frame.pixels])
                raise
            yield frame, seen, perf_counter() - begin
            begin = perf_counter()


def tokens_by_scale(gaze: FrameGaze, layout: Layout) -> list[int]:
    """Valid tokens of all tiles, by scale."""
    counts = [0] * len(layout.grids)
    for tile in range(len(gaze.ids)):
        for token in gaze.cells(tile):
            counts[layout.locate(token)[0]] += 1
    return counts
