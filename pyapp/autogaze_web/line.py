"""Frames in a line before the decoders of their tiles: the next is begun as early as can be, so that a device has work."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from autogaze_web.decode import TileDecoder
from autogaze_web.frame_gaze import FrameGaze, join_blocks
from autogaze_web.runtime import Tensor

Result = TypeVar("Result")


@dataclass(frozen=True)
class Waiting:
    """A frame that is encoded."""

    visions: Sequence[Tensor]  # one a decoder; stay their owner's, until the frame has ended
    budget: int
    first: bool  # of its window


class Line:
    """Opens frames in order: the first, and behind it a second where one can expect how the first ends."""

    def __init__(self, decoders: Sequence[TileDecoder]) -> None:
        """decoders: of all tiles of a frame."""
        self.decoders = decoders
        self.frames: deque[Waiting] = deque()
        self.opened = 0  # of them
        self.lock = asyncio.Lock()  # one may come while another ends

    async def begin(self, frame: Waiting) -> None:
        """Take the next frame."""
        self.frames.append(frame)
        async with self.lock:
            await self._open()

    async def end(self) -> list[FrameGaze]:
        """What was looked at in the first frame of the line, by decoder."""
        decoders, config = self.decoders, self.decoders[0].config
        expected = await all_of(decoder.known() for decoder in decoders)
        async with self.lock:
            if self.opened > 1 and not all(expected):
                decoders[0].recall()
                self.opened = 1
            collected = await all_of(decoder.end() for decoder in decoders)
            for decoder in decoders:
                await decoder.close_frame(max(map(len, collected)))
            frame = self.frames.popleft()
            self.opened -= 1
            await self._open()
        parts = zip(collected, decoders, strict=True)
        return [join_blocks(blocks, decoder.batch, config.slots, frame.budget) for blocks, decoder in parts]

    async def _open(self) -> None:
        while self.opened < len(self.frames):
            frame = self.frames[self.opened]
            if self.opened:
                # Of several batches none knows when the others are done with a frame; and they have one another to wait for.
                if len(self.decoders) > 1 or not self.decoders[0].may_expect(frame.first):
                    return
                self.decoders[0].expect()
            for decoder, vision in zip(self.decoders, frame.visions, strict=True):
                await decoder.open(vision, frame.budget, frame.first)
            self.opened += 1


async def all_of(work: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results of work done side by side; all of it has ended when one fails."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[Result], results)
