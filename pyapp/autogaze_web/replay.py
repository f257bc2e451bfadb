"""Frames that were looked at, painted again: from where the canvas begins, by decoding the video again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from autogaze_web.colour import Colours, Picture
from autogaze_web.errors import VideoError
from autogaze_web.gaze_log import GazeLog
from autogaze_web.layout import Layout
from autogaze_web.metrics import FrameNumbers
from autogaze_web.paint import PaintSettings
from autogaze_web.pipeline import Painter, SourceFrame, tokens_by_scale
from autogaze_web.runtime import Runtime, Tensor


class Source(Protocol):
    """A video that can be decoded from any frame on."""

    def pictures(self, start: int) -> AsyncGenerator[Picture, None]:
        """Frames from an index on, their planes in the runtime; whoever takes one releases it."""


@dataclass(frozen=True)
class Painted:
    """A frame as it is shown; three tensors uint8 [height, width, 4]."""

    index: int
    time_s: float
    window: int
    width: int
    height: int
    input: Tensor
    mask: Tensor
    output: Tensor
    numbers: FrameNumbers
    keyframe: bool
    tokens: list[int]  # valid tokens of all tiles, by scale

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.input, self.mask, self.output

    @property
    def bytes(self) -> int:
        return 3 * 4 * self.width * self.height


class Replay:
    """Paints done frames in order; going back, or far ahead, begins at the keyframe before."""

    def __init__(self, runtime: Runtime, layout: Layout, log: GazeLog, source: Source, settings: PaintSettings) -> None:
        self.runtime, self.log, self.source, self.settings = runtime, log, source, settings
        self.colours = Colours(runtime)  # its own: the tables change with the kind of picture, and replays are at different frames
        self.painter = Painter(runtime, layout, settings)
        self.stream: AsyncGenerator[Picture, None] | None = None
        self.next = 0  # the frame that the painter's canvas is ready for

    async def at(self, index: int) -> Painted:
        """A frame of the log; whoever takes it releases it."""
        start = self.log.canvas_start(index, self.settings.keyframe_duration)
        if not start <= self.next <= index:
            await self.close()
            self.next = start
        if self.stream is None:
            self.stream = self.source.pictures(self.next)
        while True:
            try:
                picture = await anext(self.stream)
            except StopAsyncIteration:
                raise VideoError(f"The video ended at frame {self.next} when it was decoded again; open it once more.") from None
            painted = await self.paint(await self.colours.frame(picture))
            if painted.index == index:
                return painted
            self.runtime.release(painted.tensors)

    async def live(self, frame: SourceFrame) -> Painted:
        """As `at`, for the frame `next`, which the caller has decoded already; the frame's pixels become the painted frame's."""
        if self.stream is not None:
            await self.stream.aclose()
            self.stream = None
        return await self.paint(frame)

    async def paint(self, frame: SourceFrame) -> Painted:
        """Paint the frame `next`; its pixels are released if that fails."""
        try:
            record = await self.log.record(self.next)
            panels = await self.painter.paint(frame, record.tiling, record.gaze)
        except BaseException:
            self.runtime.release([frame.pixels])
            raise
        self.next += 1
        return Painted(
            index=record.index,
            time_s=record.time_s,
            window=record.window,
            width=frame.width,
            height=frame.height,
            input=frame.pixels,
            mask=panels.mask,
            output=panels.output,
            numbers=panels.numbers,
            keyframe=panels.keyframe,
            tokens=tokens_by_scale(record.gaze, self.painter.layout),
        )

    async def close(self) -> None:
        """Give back every tensor; it may be used again."""
        self.painter.release()
        self.colours.release()
        if self.stream is not None:
            await self.stream.aclose()
            self.stream = None


class Reel:
    """Painted frames that are kept, the latest used ones up to a number of bytes."""

    def __init__(self, runtime: Runtime, most_bytes: int) -> None:
        self.runtime, self.most_bytes, self.bytes = runtime, most_bytes, 0
        self.frames: OrderedDict[int, Painted] = OrderedDict()

    def get(self, index: int) -> Painted | None:
        """A kept frame; it stays the reel's."""
        if index not in self.frames:
            return None
        self.frames.move_to_end(index)
        return self.frames[index]

    def put(self, painted: Painted) -> None:
        """Take over a frame."""
        self.drop(painted.index)
        self.frames[painted.index] = painted
        self.bytes += painted.bytes
        while self.bytes > self.most_bytes:
            self.drop(next(iter(self.frames)))

    def drop(self, index: int) -> None:
        """Forget a frame, if it is there."""
        painted = self.frames.pop(index, None)
        if painted is not None:
            self.bytes -= painted.bytes
            self.runtime.release(painted.tensors)

    def clear(self) -> None:
        """Forget all."""
        for index in list(self.frames):
            self.drop(index)
