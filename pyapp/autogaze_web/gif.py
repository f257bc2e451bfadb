"""Write animated GIFs frame by frame (CPython only: Pillow).

Pillow's own writer collects every frame before it writes the first one. Here Pillow only quantizes and compresses one frame;
the blocks around it are written at once, so memory does not grow with the number of frames.
"""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autogaze_web.errors import VideoError

Pixels = NDArray[np.uint8]

_MAX_SIDE = 65535  # 16-bit sizes in the format
_MIN_DELAY = 2  # hundredths of a second: viewers play anything shorter at 10 frames per second
_MAX_DELAY = 65535
_TRANSPARENT = 255  # palette index kept free for transparency in RGBA frames
_LOOP_FOREVER = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
_TRAILER = b";"


class GifWriter:
    """An animated GIF under construction; a context manager.

    The file appears under its name only when it is whole: until then it is `.name.partial` beside it, removed if anything fails.
    Above 50 frames per second some frames are left out, because a GIF cannot show them for less than 2/100 s and keep real time.
    Raises VideoError (size beyond the format, no frame added), ValueError (a frame that does not fit), OSError (the disk).
    """

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be a positive number, got {fps}")
        if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
            raise VideoError(f"A GIF cannot be {width}×{height} pixels: its sides go from 1 to {_MAX_SIDE}. Choose a smaller width.")
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._size = (width, height)
        self._step = 100 / fps
        self._due = 0.0  # hundredths of a second that the frames so far should last
        self._written = 0  # ... and do last
        self._channels: int | None = None
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._file = self._partial.open("wb")
        # no global palette: each frame brings its own
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", *self._size, 0x70, 0, 0) + _LOOP_FOREVER)
        return self

    def add(self, pixels: Pixels) -> None:
        """Append a frame: uint8 [height, width, 3], or 4 where alpha < 128 becomes transparent. All frames have the same channels."""
        if self._file is None:
            raise ValueError("GifWriter is used as a context manager: with GifWriter(...) as gif: gif.add(pixels)")
        self._check(pixels)
        self._due += self._step
        delay = min(round(self._due - self._written), _MAX_DELAY)
        if delay < _MIN_DELAY:
            if self._written:
                return  # too fast for the format: this frame's time goes to the next one
            delay = _MIN_DELAY
        self._written += delay
        indices, palette = _quantize(pixels)
        self._file.write(_control_block(delay, transparent=pixels.shape[2] == 4))
        self._file.write(_image_block(indices, palette, self._size))

    def _check(self, pixels: Pixels) -> None:
        width, height = self._size
        channels = self._channels or (pixels.shape[2] if pixels.ndim == 3 else 3)
        if channels not in (3, 4) or pixels.shape != (height, width, channels) or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 [{height}, {width}, {self._channels or '3 or 4'}], got {pixels.dtype} {list(pixels.shape)}")
        self._channels = channels

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is None:
            return
        try:
            with self._file as file:
                if kind is None:
                    if not self._written:
                        raise VideoError("No frame was added, so there is no GIF to save. Check that the video has frames.")
                    file.write(_TRAILER)
            if kind is None:
                self._partial.replace(self._path)
        finally:
            self._file = None
            self._partial.unlink(missing_ok=True)


def fit_width(pixels: Pixels, width: int) -> Pixels:
    """Scale uint8 [h, w, 3 or 4] down to `width`, keeping its aspect; narrower pictures come back as they are.

    Antialiased bilinear; colours are weighted by alpha, so hidden colours do not bleed. Raises ValueError for width < 1.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    old_height, old_width = pixels.shape[:2]
    if width >= old_width:
        return pixels
    height = max(1, round(old_height * width / old_width))
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR), dtype=np.uint8)


def _quantize(pixels: Pixels) -> tuple[Image.Image, bytes]:
    """Reduce one frame to (palette indices as a "P" image, 768 palette bytes)."""
    if pixels.shape[2] == 3:
        return _adaptive(Image.fromarray(pixels), 256)
    hidden = pixels[..., 3] < 128
    # hidden pixels go black, so that they cost one colour at most
    shown = np.where(hidden[..., None], np.uint8(0), pixels[..., :3])
    image, palette = _adaptive(Image.fromarray(shown), _TRANSPARENT)
    image.paste(_TRANSPARENT, mask=Image.fromarray(hidden.astype(np.uint8) * 255))
    return image, palette


def _adaptive(image: Image.Image, colours: int) -> tuple[Image.Image, bytes]:
    if image.getcolors(colours) is not None:
        # median cut keeps this few colours as they are: flat drawings stay exact
        indexed = image.quantize(colours, method=Image.Quantize.MEDIANCUT)
    else:
        # Pillow dithers only onto a given palette. On photos the octree, dithered, is closer than median cut and 10 times faster.
        chosen = image.quantize(colours, method=Image.Quantize.FASTOCTREE)
        indexed = image.quantize(palette=chosen, dither=Image.Dither.FLOYDSTEINBERG)
    palette = bytes(indexed.getpalette("RGB") or [])[: 3 * colours]
    return indexed, palette.ljust(768, b"\0")


def _control_block(delay: int, transparent: bool) -> bytes:
    # disposal 2 clears the canvas for the next frame, else it would show through; 1 leaves it to be overwritten
    flags = (2 << 2) | 1 if transparent else 1 << 2
    return b"!\xf9\x04" + struct.pack("<BHB", flags, delay, _TRANSPARENT if transparent else 0) + b"\0"


def _image_block(indices: Image.Image, palette: bytes, size: tuple[int, int]) -> bytes:
    local_palette_of_256 = 0x87
    return b"," + struct.pack("<HHHHB", 0, 0, *size, local_palette_of_256) + palette + _compressed(indices)


def _compressed(indices: Image.Image) -> bytes:
    """The LZW part (code size, data blocks, terminator), cut out of a one-frame GIF that Pillow saves."""
    buffer = io.BytesIO()
    # without optimize=False Pillow may renumber the palette
    indices.save(buffer, "GIF", optimize=False, interlace=0)
    data = buffer.getvalue()
    position = 13 + _palette_length(data[10])
    while data[position] == ord("!"):  # extensions: introducer, label, sub-blocks
        position += 2
        while data[position]:
            position += 1 + data[position]
        position += 1
    flags = data[position + 9]
    return data[position + 10 + _palette_length(flags) : -1]


def _palette_length(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
