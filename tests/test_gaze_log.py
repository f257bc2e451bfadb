"""What was looked at survives being written down."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.gaze_log import GazeLog, MemoryStore
from autogaze_web.tiles import Tiling

ROW = st.lists(st.integers(0, 264), max_size=6, unique=True)
FRAME = st.integers(1, 3).flatmap(lambda columns: st.tuples(st.just(columns), st.lists(ROW, min_size=columns, max_size=columns)))


@given(st.lists(FRAME, min_size=1, max_size=150), st.randoms(use_true_random=False))
def test_every_frame_reads_back_in_any_order(frames: list[tuple[int, list[list[int]]]], random: object) -> None:
    log = GazeLog(MemoryStore(), "tiled")
    for index, (columns, rows) in enumerate(frames):
        padded = [[*row, 265] for row in rows]  # a slot that is not valid is not written
        gaze = FrameGaze(padded, [[True] * len(row) + [False] for row in rows], [], [])
        log.add(index / 30, index // 16, Tiling("tiled", 224 * columns, 224, columns, 1), gaze)
    order = list(range(len(frames)))
    random.shuffle(order)  # type: ignore[attr-defined]

    async def go() -> None:
        for index in order:
            record = await log.record(index)
            assert (record.index, record.time_s, record.window) == (index, index / 30, index // 16)
            assert record.tiling.columns == frames[index][0]
            assert [record.gaze.cells(tile) for tile in range(record.tiling.tiles)] == frames[index][1]

    asyncio.run(go())


def test_a_canvas_begins_at_keyframes_and_changes_of_size() -> None:
    log = GazeLog(MemoryStore(), "resize")
    for index in range(10):
        log.add(0.0, 0, Tiling("resize", 64 if index < 4 else 80, 64, 1, 1), FrameGaze([[]], [[]], [], []))
    assert [log.canvas_start(index, 3) for index in range(10)] == [0, 0, 0, 3, 4, 4, 4, 7, 7, 7]
    assert [log.canvas_start(index, 0) for index in range(10)] == [0] * 4 + [4] * 6
