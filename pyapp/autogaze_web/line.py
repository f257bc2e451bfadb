"""Frames in a line before the decoders of their tiles: the next is begun as early as can be, so that a device has work."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from autogaze_web.decode import TileDecoder
from autogaze_web.frame_gaze import FrameGaze, join_blocks
from autogaze_web.runtime import HostTensor, Tensor

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
        self.failure: BaseException | None = None  # after which there is no more

    async def begin(self, frame: Waiting) -> None:
        """Take the next frame."""
        async with self.lock:
            self.frames.append(frame)
            await self._failing(self._open())

    async def end(self) -> list[FrameGaze]:
        """What was looked at in the first frame of the line, by decoder."""
        expected = await all_of(decoder.known() for decoder in self.decoders)
        async with self.lock:
            frame, collected = self.frames[0], await self._failing(self._end(all(expected)))
        slots, parts = self.decoders[0].config.slots, zip(collected, self.decoders, strict=True)
        return [join_blocks(blocks, decoder.batch, slots, frame.budget) for blocks, decoder in parts]

    async def _end(self, expected: bool) -> list[list[dict[str, HostTensor]]]:
        if self.opened > 1 and not expected:
            self.decoders[0].recall()
            self.opened = 1
        ends, side_by_side = (decoder.end() for decoder in self.decoders), self.decoders[0].runtime.limits.side_by_side
        collected = await all_of(ends) if side_by_side else [await end for end in ends]
        for decoder in self.decoders:
            await decoder.close_frame(max(map(len, collected)))
        self.frames.popleft()
        self.opened -= 1
        await self._open()
        return collected

    async def _failing(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of work, or why nothing works any more."""
        if self.failure:
            work.close()
            raise self.failure
        try:
            return await work
        except BaseException as error:
            self.failure = error
            raise

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
