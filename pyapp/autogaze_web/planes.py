"""What FFmpeg decoded, as planes of bytes (CPython only: PyAV). Graphs make RGB of them (colour.py).

8-bit 4:2:0, 4:2:2 and 4:4:4 stay as they were decoded. Every other pixel format (more bits, palettes, grey, transparency, RGB) becomes
RGB by FFmpeg's scaler, and transparency is laid over black.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from autogaze_web.colour import FORMATS, Picture, full_range_of, matrix_of
from autogaze_web.errors import VideoError
from autogaze_web.runtime import Tensor

Pixels = NDArray[np.uint8]

# FFmpeg's pixel formats whose planes the graphs take as they are; "yuvj" is an old way to say full range.
_AS_DECODED = {
    "yuv420p": "I420",
    "yuvj420p": "I420",
    "yuv422p": "I422",
    "yuvj422p": "I422",
    "yuv444p": "I444",
    "yuvj444p": "I444",
    "nv12": "NV12",
}
_MATRICES = {  # H.273's MatrixCoefficients, which FFmpeg and PyAV count alike
    0: "gbr",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    9: "bt2020nc",
    10: "bt2020c",
}
_RANGES = {1: False, 2: True}  # FFmpeg's AVColorRange: MPEG, JPEG


@dataclass(frozen=True)
class Orientation:
    """A display matrix as array operations: swap rows with columns, then mirror."""

    swap: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_display_matrix(cls, matrix: bytes) -> Orientation:
        """Read FFmpeg's 3×3 int32 matrix (x' = a·x + c·y, y' = b·x + d·y); other angles go to the nearest quarter turn."""
        a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32, count=5).tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @property
    def rotation(self) -> int:
        """Clockwise degrees, after a left-right mirror where there is one."""
        return (90 if self.flip_x else 270) if self.swap else (180 if self.flip_y else 0)


_TURNS = (Orientation(), Orientation(True, True, False), Orientation(False, True, True), Orientation(True, False, True))  # clockwise


@dataclass(frozen=True)
class StoredPicture:
    """A decoded frame as it is stored: before turning, before RGB. The planes are not shared with the decoder."""

    width: int
    height: int
    format: str  # a key of colour.FORMATS
    matrix: str
    full_range: bool
    orientation: Orientation
    planes: tuple[Pixels, ...]  # [rows, bytes of a line], C-contiguous

    def handed(self, index: int, time_s: float, adopt: Callable[[Pixels], Tensor]) -> Picture:
        """The same in a runtime; adopt: how the runtime takes an array."""
        turn = self.orientation
        return Picture(
            index,
            time_s,
            width=self.width,
            height=self.height,
            format=self.format,
            matrix=self.matrix,
            full_range=self.full_range,
            swap=turn.swap,
            flip_x=turn.flip_x,
            flip_y=turn.flip_y,
            planes=tuple(adopt(plane) for plane in self.planes),
        )


def stored_picture(frame: av.VideoFrame, reformatter: VideoReformatter) -> StoredPicture:
    """The planes of a decoded frame; VideoError where its pixel format cannot be read."""
    name = _AS_DECODED.get(frame.format.name)
    planes = () if name is None else _copied(frame, name)
    if name is None or not planes:
        name, planes = "RGBA", (_rgba(frame, reformatter),)
    full_range = frame.format.name.startswith("yuvj") or full_range_of(_RANGES.get(int(frame.color_range)))
    matrix = matrix_of(_MATRICES.get(int(frame.colorspace)))
    return StoredPicture(frame.width, frame.height, name, matrix, full_range, orientation_of(frame), planes)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """How the file wants the frame to be turned and mirrored."""
    try:
        matrix = cast(Mapping[str, bytes], frame.side_data).get("DISPLAYMATRIX")
        return Orientation() if matrix is None else Orientation.from_display_matrix(bytes(matrix))
    except ValueError:  # PyAV 18 cannot list side data of a kind it does not know, such as EXIF; its rotation loses mirror images
        return _TURNS[round(-frame.rotation / 90) % 4]


def can_be_transparent(frame: av.VideoFrame) -> bool:
    """Whether the pixel format has room for transparency."""
    return frame.format.has_palette or any(part.is_alpha for part in frame.format.components)


def _copied(frame: av.VideoFrame, name: str) -> tuple[Pixels, ...]:
    """Every plane without what pads its lines; none where lines are stored from the bottom up."""
    if any(plane.line_size < 0 for plane in frame.planes):
        return ()
    planes = []
    for plane, (rows, line) in zip(frame.planes, FORMATS[name].sizes(frame.width, frame.height), strict=True):
        lines = np.frombuffer(memoryview(plane), dtype=np.uint8, count=rows * plane.line_size).reshape(rows, plane.line_size)
        planes.append(lines[:, :line].copy())
    return tuple(planes)


def _rgba(frame: av.VideoFrame, reformatter: VideoReformatter) -> Pixels:
    """RGB and a fourth byte without meaning, [rows, 4 · columns], by FFmpeg's scaler."""
    try:
        pixels = np.asarray(reformatter.reformat(frame, format="rgba").to_ndarray(), dtype=np.uint8)
    except av.FFmpegError as error:
        raise VideoError(f"Frames in the pixel format {frame.format.name} cannot be turned into RGB. Convert the video first.") from error
    # always a copy: an RGBA frame comes back as the decoder's own buffer
    return np.array(_over_black(pixels) if can_be_transparent(frame) else pixels, order="C").reshape(frame.height, 4 * frame.width)


def _over_black(rgba: Pixels) -> Pixels:
    """Composite straight alpha over black, rounding to nearest."""
    alpha = rgba[..., 3:]
    if alpha.min() == 255:
        return rgba
    return ((rgba.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
