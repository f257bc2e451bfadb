"""What was looked at, written down: a JSON document that is streamed, one frame after another (docs/api.md describes it)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Protocol

from autogaze_web.frame_gaze import FrameGaze

SCHEMA = "autogaze-trace/1"


class TextSink(Protocol):
    """A file open for writing, or whatever takes text."""

    def write(self, text: str, /) -> object: ...


CLOSING = "\n]}\n"


def opening(head: Mapping[str, object]) -> str:
    """What a trace begins with. head: what is known before the first frame, such as record.RunRecord.trace_head; JSON values."""
    return json.dumps({"schema": SCHEMA, **head}, allow_nan=False)[:-1] + ', "frames": ['


class TraceFrames:
    """Writes the frames of a trace, which stand between `opening` and CLOSING; what it holds does not grow with their number."""

    def __init__(self, sink: TextSink, tiling: object) -> None:
        """tiling: the head's."""
        self.sink, self.frames, self.tiling = sink, 0, tiling

    def add(self, index: int, time_s: float, window: int, gaze: FrameGaze, tiling: Mapping[str, object] | None = None) -> None:
        """One frame: its index and time in the video, the window it belongs to, and the gaze of all its tiles.

        tiling: how the frame is cut; written where it is not the head's.
        """
        other = {"tiling": tiling} if tiling is not None and tiling != self.tiling else {}
        frame = {
            "index": index,
            "time_s": round(time_s, 6),
            "window": window,
            **other,
            "num_gazing": gaze.slots,
            "ids": gaze.ids,
            "padded": [[int(not valid) for valid in row] for row in gaze.valid],
            "task_loss": [[_rounded(loss) for loss in row[: gaze.slots]] for row in gaze.task_loss],
        }
        self.sink.write(("," if self.frames else "") + "\n" + json.dumps(frame, separators=(",", ":"), allow_nan=False))
        self.frames += 1


class TraceWriter(TraceFrames):
    """Writes a whole trace as frames come."""

    def __init__(self, sink: TextSink, head: Mapping[str, object]) -> None:
        """head: as of `opening`."""
        super().__init__(sink, head.get("tiling"))
        sink.write(opening(head))

    def close(self) -> None:
        """End the document."""
        self.sink.write(CLOSING)


def _rounded(loss: float) -> float | None:
    """JSON has no NaN and no infinity: null."""
    return round(loss, 5) if math.isfinite(loss) else None
