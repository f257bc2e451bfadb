"""One video being looked at: gazes to its end, shows any frame that is done, paints anew without gazing again.

`run`, `show`, `repaint` and `pixels` may be awaited at the same time; the runtime does one thing after the other. What a person sees is
told to a Stage. After a lost device or a full memory, `move` takes the work to another runtime, and `run` goes on at the last window.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter
from typing import Protocol

from autogaze_web.checkpoint import Checkpoint
from autogaze_web.colour import Colours
from autogaze_web.errors import SettingsError
from autogaze_web.gaze_log import GazeLog, Store
from autogaze_web.metrics import RunNumbers
from autogaze_web.paint import PaintSettings
from autogaze_web.pipeline import Gazed, Gazer, SourceFrame, gazed
from autogaze_web.record import RunRecord, json_text
from autogaze_web.replay import Painted, Reel, Replay, Source
from autogaze_web.runtime import HostTensor, Runtime, Tensor
from autogaze_web.settings import check_paint
from autogaze_web.tiles import Tiling
from autogaze_web.trace import CLOSING, TraceFrames, opening

COLUMNS = ("index", "time_s", "window", "keyframe", "mask_ratio", "update_ratio", "psnr_db")  # of the CSV, before tokens by scale


class Stage(Protocol):
    """Where frames are shown and news of them are told."""

    def draw(self, index: int, input: Tensor, mask: Tensor, output: Tensor) -> None:
        """Show a frame; the tensors are not the stage's."""

    def news(self, news: dict[str, object]) -> None:
        """A frame is painted, in order; FrameNews of web/shared/messages.js."""


class TextStore:
    """A TextSink over a Store."""

    def __init__(self, store: Store) -> None:
        self.store, self.bytes = store, 0

    def write(self, text: str) -> None:
        data = text.encode()
        self.store.append(data)
        self.bytes += len(data)


class Studio:
    """A video, a model and settings."""

    def __init__(
        self, runtime: Runtime, checkpoint: Checkpoint, source: Source, record: RunRecord, stage: Stage, stores: tuple[Store, Store],
        reel_bytes: int,
    ) -> None:  # fmt: skip
        """stores: for the log and for the trace; reel_bytes: of painted frames that are kept."""
        check_paint(record.paint)
        self.checkpoint, self.source, self.record, self.stage = checkpoint, source, record, stage
        self.log, self.trace_text = GazeLog(stores[0], record.gaze.mode), TextStore(stores[1])
        self.trace: TraceFrames | None = None
        self.reel_bytes = reel_bytes
        self.following = True  # whether each painted frame is shown
        self.stopped = self.closed = False
        self.stops = 0  # how often a person stopped the work
        self.window_start = 0  # first frame of the window that is open
        self.painted = 0  # frames painted with the settings of now
        self.seconds = dict.fromkeys(("decode", "gaze", "paint"), 0.0)
        self.painting = asyncio.Lock()
        self.showing = asyncio.Lock()
        self.exporting = asyncio.Lock()
        self.numbers = RunNumbers(record.layout.grids)
        self.rows = array("d")  # of the CSV: its columns after the first, a frame after another
        self._use(runtime)

    def _use(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.reel = Reel(runtime, self.reel_bytes)
        self.main, self.player, self.exporter = (self._replay() for _ in range(3))

    def _replay(self) -> Replay:
        return Replay(self.runtime, self.record.config.layout, self.log, self.source, self.record.paint)

    @property
    def tiling(self) -> Tiling:
        """Of the first frame."""
        return self.log.sizes[0][1]

    async def run(self) -> None:
        """Gaze at every frame that is not done and paint it; again after an error: from the window it met."""
        gazer, colours = Gazer(self.runtime, self.checkpoint, self.record.gaze), Colours(self.runtime)
        start = self.window_start
        if start < len(self.log):
            gazer.windows = (await self.log.record(start)).window
        try:
            await self._gaze(gazer, colours, start)
        finally:
            gazer.release()
            colours.release()
        await self._catch_up()

    async def _gaze(self, gazer: Gazer, colours: Colours, start: int) -> None:
        async with aclosing(gazed(self._frames(colours, start), gazer)) as items:
            async for item in items:
                self._note(item)
                await self._paint_if_next(item)
                if self.stopped:
                    return

    async def _frames(self, colours: Colours, start: int) -> AsyncGenerator[SourceFrame, None]:
        async with aclosing(self.source.pictures(start)) as pictures:
            async for picture in pictures:
                yield await colours.frame(picture)

    def _note(self, item: Gazed) -> None:
        frame, seen = item.frame, item.seen
        if seen.waiting.first:
            self.window_start = frame.index
        if frame.index < len(self.log):
            return  # gazed before the device was lost: only the model's memory is made again
        tiling = seen.size.tiling
        told = self.record.tiling(tiling)
        if self.trace is None:
            self.trace = TraceFrames(self.trace_text, told)
        self.trace.add(frame.index, frame.time_s, seen.window, self.record.told(item.gaze, tiling), told)
        self.log.add(frame.time_s, seen.window, tiling, item.gaze)

    async def _paint_if_next(self, item: Gazed) -> None:
        """Paint a frame that was just gazed, unless frames before it are still to be painted anew: then it is decoded again later."""
        frame = item.frame
        async with self.painting:
            if self.painted != frame.index:
                self.runtime.release([frame.pixels])
                return
            begin = perf_counter()
            if self.main.next == frame.index:
                painted = await self.main.live(frame)
            else:  # the canvas was lost
                self.runtime.release([frame.pixels])
                painted = await self.main.at(frame.index)
            self._deliver(painted, [item.decode_s, item.gaze_s, perf_counter() - begin])

    async def _catch_up(self) -> None:
        """Paint what is gazed and not painted."""
        stops = self.stops
        while not self.closed and self.stops == stops:
            async with self.painting:
                if self.painted >= len(self.log):
                    return
                begin = perf_counter()
                self._deliver(await self.main.at(self.painted), [0.0, 0.0, perf_counter() - begin])

    def _deliver(self, painted: Painted, seconds: list[float]) -> None:
        numbers = painted.numbers
        self.numbers.add(numbers, painted.tokens)
        self.painted = painted.index + 1
        for name, spent in zip(self.seconds, seconds, strict=True):
            self.seconds[name] += spent
        row = (painted.time_s, painted.window, painted.keyframe, numbers.mask_ratio, numbers.update_ratio, numbers.psnr_db)
        self.rows.extend([*row, *painted.tokens])
        self.stage.news(
            {
                "index": painted.index,
                "time": painted.time_s,
                "window": painted.window,
                "mask_ratio": numbers.mask_ratio,
                "update_ratio": numbers.update_ratio,
                "psnr_db": numbers.psnr_db,
                "mask_ratio_ema": self.numbers.mask_ratio.ema.value,
                "update_ratio_ema": self.numbers.update_ratio.ema.value,
                "psnr_db_ema": self.numbers.psnr_db.ema.value,
                "keyframe": painted.keyframe,
                "tokens": painted.tokens,
                "seconds": seconds,
            }
        )
        if self.following:
            self.stage.draw(painted.index, *painted.tensors)
        self.reel.put(painted)

    async def show(self, index: int) -> None:
        """Show a frame that is done; IndexError for one that is not."""
        async with self.showing:
            kept = self.reel.get(index)
            if kept is None and not 0 <= index < len(self.log):
                raise IndexError(f"frame {index} is not done")
            painted = kept or await self.player.at(index)
            self.stage.draw(painted.index, *painted.tensors)
            if kept is None:
                self.reel.put(painted)

    async def repaint(self, settings: PaintSettings) -> None:
        """Paint every frame that is done with other settings; the numbers begin anew."""
        check_paint(settings)
        async with self.painting, self.showing, self.exporting:
            self.record = replace(self.record, paint=settings)
            for replay in (self.main, self.player, self.exporter):
                await replay.close()
            self.reel.clear()
            self.main, self.player, self.exporter = (self._replay() for _ in range(3))
            self.painted, self.rows, self.numbers = 0, array("d"), RunNumbers(self.record.layout.grids)
        await self._catch_up()

    async def pixels(self, index: int) -> tuple[Painted, list[HostTensor]]:
        """A done frame and its three panels on the host, for a file; the tensors of the former are released."""
        async with self.exporting:
            painted = await self.exporter.at(index)
            try:
                return painted, await self.runtime.read(painted.tensors)
            finally:
                self.runtime.release(painted.tensors)

    def stop(self) -> None:
        """End `run` after the frame it is at, and painting anew; what is done stays."""
        self.stopped = True
        self.stops += 1

    async def move(self, runtime: Runtime, tile_batch: int | None = None) -> None:
        """Go on with another runtime, or with fewer tiles at once; everything on the old one is given up."""
        await self.close()
        if tile_batch is not None:
            self.record = replace(self.record, gaze=replace(self.record.gaze, tile_batch=tile_batch))
        self.record = replace(self.record, backend=runtime.backend, limits=runtime.limits)
        self._use(runtime)
        self.closed = False

    async def close(self) -> None:
        """Give back every tensor; what is being painted anew ends."""
        self.closed = True
        async with self.painting, self.showing, self.exporting:
            for replay in (self.main, self.player, self.exporter):
                await replay.close()
            self.reel.clear()

    def metrics(self, closing: Mapping[str, object]) -> str:
        """metrics.json; closing: files, warnings and time."""
        self._check_begun()
        return json_text(self.record.metrics(self.tiling, self.numbers) | {"size_changes": len(self.log.sizes) - 1, **closing})

    def trace_ends(self) -> tuple[str, str]:
        """What stands before and after the frames of trace.json, which are in the second store."""
        self._check_begun()
        return opening(self.record.trace_head(self.tiling)), CLOSING

    def csv(self) -> str:
        """The numbers of every painted frame as CSV; "inf" where the output equals the input."""
        self._check_begun()
        grids = self.record.layout.grids
        wide = len(COLUMNS) - 1 + len(grids)
        lines = [",".join([*COLUMNS, *(f"tokens_{grid}x{grid}" for grid in grids)])]
        for index in range(self.painted):
            time_s, window, keyframe, mask, update, psnr, *tokens = self.rows[index * wide : (index + 1) * wide]
            cells = (index, round(time_s, 6), int(window), int(keyframe), mask, update, psnr, *map(int, tokens))
            lines.append(",".join(map(str, cells)))
        return "\n".join(lines) + "\n"

    def _check_begun(self) -> None:
        if not len(self.log):
            raise SettingsError("No frame is done yet, so there is nothing to save. Wait for the first one.")
