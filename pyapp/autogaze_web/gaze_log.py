"""What was looked at, frame by frame, kept small enough for hours of video: enough to paint any frame again without gazing."""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from typing import Protocol

from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.tiles import Tiling

HEAD = struct.Struct("<dIIIII")  # seconds, window, frame width and height in pixels, tile columns and rows
AT_ONCE = 64  # records read together


class Store(Protocol):
    """Bytes that are appended and read back; where they are kept is its own affair (a browser keeps large blobs on disk)."""

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""

    async def read(self, start: int, end: int) -> bytes:
        """The bytes [start, end)."""


class MemoryStore:
    """A Store in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def append(self, data: bytes) -> None:
        self.data += data

    async def read(self, start: int, end: int) -> bytes:
        return bytes(self.data[start:end])


@dataclass(frozen=True)
class Record:
    """One frame that was looked at."""

    index: int
    time_s: float
    window: int
    tiling: Tiling
    gaze: FrameGaze  # the cells alone: every slot valid, no probabilities, no losses


class GazeLog:
    """Appends frames in order and reads any of them back; in memory it holds eight bytes a frame, and the frames where the size changes."""

    def __init__(self, store: Store, mode: str) -> None:
        """mode: of the tilings, one of tiles.MODES."""
        self.store, self.mode = store, mode
        self.ends = array("Q")  # bytes of the store after each frame
        self.sizes: list[tuple[int, Tiling]] = []  # first frame of each run of frames of a size
        self.near: tuple[int, list[Record]] = (0, [])  # records read last, and the index of the first

    def __len__(self) -> int:
        return len(self.ends)

    def add(self, time_s: float, window: int, tiling: Tiling, gaze: FrameGaze) -> None:
        """The next frame; ids must fit 16 bits."""
        cells = [gaze.cells(tile) for tile in range(tiling.tiles)]
        counts, ids = array("H", [len(row) for row in cells]), array("H", [token for row in cells for token in row])
        head = HEAD.pack(time_s, window, tiling.width, tiling.height, tiling.columns, tiling.rows)
        data = head + counts.tobytes() + ids.tobytes()
        if not self.sizes or self.sizes[-1][1] != tiling:
            self.sizes.append((len(self), tiling))
        self.store.append(data)
        self.ends.append((self.ends[-1] if self.ends else 0) + len(data))

    def canvas_start(self, index: int, period: int) -> int:
        """The frame at or before `index` where the canvas begins anew: a keyframe, or the first of its size. period: 0, only the latter."""
        first = next(first for first, _ in reversed(self.sizes) if first <= index)
        return index - (index - first) % period if period else first

    async def record(self, index: int) -> Record:
        """A frame that was added; IndexError for one that was not."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} was not looked at")
        first, records = self.near
        if not first <= index < first + len(records):
            self.near = first, records = index, await self._read(index, min(index + AT_ONCE, len(self)))
        return records[index - first]

    async def _read(self, first: int, end: int) -> list[Record]:
        begin = self.ends[first - 1] if first else 0
        ends = self.ends[first:end]
        data = await self.store.read(begin, ends[-1])
        starts = [begin, *ends[:-1]]
        return [
            self._record(index, data[start - begin : stop - begin])
            for index, start, stop in zip(range(first, end), starts, ends, strict=True)
        ]

    def _record(self, index: int, data: bytes) -> Record:
        time_s, window, width, height, columns, rows = HEAD.unpack_from(data)
        tiling = Tiling(self.mode, width, height, columns, rows)
        numbers = array("H", data[HEAD.size :])
        counts, place, ids = numbers[: tiling.tiles], tiling.tiles, []
        for count in counts:
            ids.append(list(numbers[place : place + count]))
            place += count
        return Record(index, time_s, window, tiling, FrameGaze(ids, [[True] * len(row) for row in ids], [], []))
