"""Small video files, written with PyAV, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

import slow_colour
from autogaze_web.planes import Pixels
from autogaze_web.video import VideoFrame, VideoReader, open_video


def noise(count: int = 15, width: int = 64, height: int = 48, channels: int = 3) -> list[Pixels]:
    """Distinct random pictures [height, width, channels]; too random to compress, so that cutting a file in half cuts frames."""
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (height, width, channels), dtype=np.uint8) for _ in range(count)]


def corner(width: int, height: int) -> Pixels:
    """Black with a white top left quarter: shows every turn and mirror."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255
    return picture


def write(
    path: Path, pictures: list[Pixels], kind: str = "ffv1 bgr0", movflags: str = "", prepare: Callable[[Any], None] = lambda stream: None
) -> Path:
    """Encode uint8 [h, w, 3 or 4] pictures at 10 frames per second; `kind` is codec and pixel format, `prepare` gets the stream."""
    codec, pix_fmt = kind.split()
    form, options = path.suffix[1:].replace("mkv", "matroska"), {"movflags": movflags} if movflags else {}
    with path.open("wb") as file, av.open(file, "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        prepare(stream)
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, "rgba" if picture.shape[2] == 4 else "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut(path: Path, share: float) -> Path:
    os.truncate(path, int(path.stat().st_size * share))
    return path


def read(path: Path) -> tuple[VideoReader, list[VideoFrame]]:
    with open_video(path) as reader:
        return reader, list(reader.frames())


def pixels(frame: VideoFrame) -> Pixels:
    """The frame in RGB, uint8 [height, width, 3], as displayed."""
    return slow_colour.rgb(frame.stored)
