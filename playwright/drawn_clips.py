"""Small clips for the page: bright squares that move over a quiet ground, so that there is something to look at."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """RGB [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    ground = np.stack([40 + x * 60 // width, 60 + y * 60 // height, np.full_like(x, 70)], axis=-1).astype(np.uint8)
    side = height // 4
    for number, colour in enumerate(((250, 220, 30), (30, 200, 250))):
        left = (17 * number + (9 - 4 * number) * index) % (width - side)
        top = (height // 3 * number + 3 * index) % (height - side)
        ground[top : top + side, left : left + side] = colour
    return ground


def draw(path: Path, frames: int, width: int = 160, height: int = 96, fps: int = 10) -> Path:
    """A VP9 clip."""
    with av.open(path, "w", format="webm") as container:
        stream: Any = container.add_stream(
            "libvpx-vp9", rate=fps, options={"crf": "24", "b": "0", "cpu-used": "8", "threads": "1", "g": "8"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
