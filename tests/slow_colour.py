"""What `rgb` and `rgb_turned` should give, in NumPy's integers: another way to the same numbers, and RGB pixels for tests of decoding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from autogaze_web.planes import Orientation, Pixels, StoredPicture

Levels = NDArray[np.int64]
WEIGHTS = {  # Kr, Kb of ITU-R BT.601-7, BT.709-6, BT.2020-2, FCC Title 47 and SMPTE ST 240
    "bt601": ("0.299", "0.114"),
    "bt709": ("0.2126", "0.0722"),
    "bt2020": ("0.2627", "0.0593"),
    "fcc": ("0.30", "0.11"),
    "smpte240m": ("0.212", "0.087"),
}


def rgb(picture: StoredPicture) -> Pixels:
    """uint8 [height, width, 3], as displayed."""
    return turned(stored_rgb(picture), picture.orientation)


def turned(pixels: Pixels, orientation: Orientation) -> Pixels:
    """Rows become columns, then the mirrors."""
    if orientation.swap:
        pixels = pixels.transpose(1, 0, 2)
    if orientation.flip_x:
        pixels = np.fliplr(pixels)
    if orientation.flip_y:
        pixels = np.flipud(pixels)
    return np.ascontiguousarray(pixels)


def stored_rgb(picture: StoredPicture) -> Pixels:
    """Before turning."""
    width, height, planes = picture.width, picture.height, [plane.astype(np.int64) for plane in picture.planes]
    if picture.format in ("RGBA", "RGBX", "BGRA", "BGRX"):
        quads = planes[0][:height, : 4 * width].reshape(height, width, 4)
        order = [0, 1, 2] if picture.format.startswith("R") else [2, 1, 0]
        return quads[..., order].astype(np.uint8)
    if picture.format == "NV12":
        pairs = planes[1][:, : 2 * ((width + 1) // 2)]
        planes[1:] = [pairs[:, 0::2], pairs[:, 1::2]]
    down, across = {"I420": (2, 2), "NV12": (2, 2), "I422": (1, 2), "I444": (1, 1)}[picture.format]
    y, cb, cr = planes[0], *(plane.repeat(down, axis=0).repeat(across, axis=1) for plane in planes[1:])
    y, cb, cr = (plane[:height, :width] for plane in (y, cb, cr))
    if picture.matrix != "rgb":
        return mixed(y, cb, cr, picture.matrix, picture.full_range)
    if picture.format != "I444":
        return mixed(y, cb, cr, "bt601", picture.full_range)
    channels = (cr, y, cb)
    if not picture.full_range:
        channels = tuple(rounded((channel - 16) * bits(Fraction(255, 219))) for channel in channels)  # type: ignore[assignment]
    return np.stack(channels, axis=-1).astype(np.uint8)


def mixed(y: Levels, cb: Levels, cr: Levels, matrix: str, full_range: bool) -> Pixels:
    """Y'CbCr levels [h, w] -> uint8 [h, w, 3]."""
    kr, kb = map(Fraction, WEIGHTS[matrix])
    kg = 1 - kr - kb
    swing, chroma, black = (Fraction(1), Fraction(1), 0) if full_range else (Fraction(255, 219), Fraction(255, 224), 16)
    y, cb, cr = (y - black) * bits(swing), cb - 128, cr - 128
    red = y + cr * bits(chroma * 2 * (1 - kr))
    green = y - cb * bits(chroma * 2 * (1 - kb) * kb / kg) - cr * bits(chroma * 2 * (1 - kr) * kr / kg)
    blue = y + cb * bits(chroma * 2 * (1 - kb))
    return np.stack([rounded(channel) for channel in (red, green, blue)], axis=-1).astype(np.uint8)


def bits(coefficient: Fraction) -> int:
    """To 13 bits behind the point; no coefficient lies half way."""
    return round(coefficient * 8192)


def rounded(sums: Levels) -> Levels:
    """Half up, to 8 bits."""
    return ((sums + 4096) >> 13).clip(0, 255)
