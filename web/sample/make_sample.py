"""Draws the sample clip: `python web/sample/make_sample.py` writes sample.webm beside itself. Needs NumPy and PyAV.

Six seconds that show what AutoGaze does. A balloon drifts over still hills: only the balloon changes. The camera pans: everything moves,
slowly. A cut to a forest floor, where a ladybird walks over leaves: everything is new once, then only the ladybird changes.
The same versions of NumPy and FFmpeg give the same bytes. Pictures are float32 RGB [height, width, 3] from 0 to 1, drawn at SCALE times
the size and averaged down; lengths in the drawing code are in pixels of the clip.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

Array = NDArray[np.float32]

WIDTH, HEIGHT, FPS = 640, 360, 24
PAN_FROM, CUT, FRAMES = 44, 92, 144  # frame numbers
PAN = 120  # pixels, by the camera
SCALE = 2
BT709, LIMITED = 1, 1  # FFmpeg's numbers
OPTIONS = {"crf": "26", "b": "0", "deadline": "good", "cpu-used": "1", "row-mt": "0", "g": "72", "lag-in-frames": "16"}


def smooth(low: float, high: float, x: Array) -> Array:
    """0 below low, 1 above high, a soft step between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def clouds(rng: np.random.Generator, height: int, width: int, slope: float, stretch: float = 1.0) -> Array:
    """Noise whose spectrum falls with frequency^slope, wider than high by `stretch`; [height, width], mean 0, deviation 1."""
    fy = np.fft.fftfreq(height)[:, None] / stretch * max(height, width)
    fx = np.fft.rfftfreq(width)[None] * max(height, width)
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / np.maximum(np.hypot(fy, fx), 1) ** slope
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(height, width))
    return (noise / noise.std()).astype(np.float32)


def colour(text: str) -> Array:
    """ "#f2b457"."""
    return np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)


def blend(picture: Array, paint: Array, cover: Array) -> None:
    """Lay paint over the picture, in place; cover: [h, w] from 0 to 1."""
    picture += (paint - picture) * cover[..., None]


def grid(height: int, width: int, left: float = 0, top: float = 0) -> tuple[Array, Array]:
    """y and x of every sample, in pixels of the clip; height and width in samples."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return top + (y + 0.5) / SCALE, left + (x + 0.5) / SCALE


# --- The hills ---------------------------------------------------------------------------------------------------------------------


def hills(rng: np.random.Generator) -> Array:
    """A wide evening landscape: sky, sun, clouds, ridges in haze, a dark wood in front."""
    height, width = HEIGHT * SCALE, (WIDTH + PAN) * SCALE
    y, x = grid(height, width)
    picture = np.zeros((height, width, 3), np.float32)
    for low, high, paint in ((0, 120, "#4d74a8"), (40, 170, "#9db4c8"), (110, 235, "#f3cf9b")):
        blend(picture, colour(paint), smooth(low - 1, high, y) if low else np.ones_like(y))
    distance = np.hypot(x - 500, y - 128)
    blend(picture, colour("#ffe9bd"), 0.75 * np.exp(-((distance / 90) ** 2)))
    blend(picture, colour("#fffbe8"), smooth(21.5, 20, distance))
    veil = clouds(rng, height, width, 1.7, 3.5) + 0.35 * clouds(rng, height, width, 1.1, 3.0)
    blend(picture, colour("#fff1dd"), 0.75 * smooth(0.2, 1.7, veil) * smooth(190, 60, y))
    blend(picture, colour("#8c93ab"), 0.5 * smooth(0.6, 2.2, np.roll(veil, 6 * SCALE, 0) - 0.5 * veil) * smooth(170, 60, y))
    ridges = (
        ("#a9b3c6", 178, 20, 1.9),
        ("#8a9db5", 202, 22, 1.8),
        ("#6f8f97", 226, 20, 1.7),
        ("#5f8264", 252, 20, 1.6),
        ("#70803f", 284, 16, 1.6),
    )
    for number, (paint, base, swing, slope) in enumerate(ridges):
        ridge(picture, rng, y, colour(paint), base, swing, slope, number / (len(ridges) - 1))
    for depth in np.sort(rng.random(150) ** 0.7):  # the nearer ones last, in front
        foot = 268 + 80 * depth + 6 * rng.random()
        conifer(picture, rng, rng.uniform(-10, WIDTH + PAN + 10), foot, 14 + 44 * depth * rng.uniform(0.7, 1.1))
    return picture


def ridge(picture: Array, rng: np.random.Generator, y: Array, paint: Array, base: float, swing: float, slope: float, near: float) -> None:
    """A range of hills up to about `base`; near: 0 far in the haze, 1 in front, with light, shade and fields."""
    height, width = y.shape
    line = base + swing * clouds(rng, 1, width, slope * 0.75)
    relief = clouds(rng, height, width, 1.6, 0.8)
    light = (np.roll(relief, 3, 1) - relief) * 1.6 + 0.35 * clouds(rng, height, width, 0.9)
    fields = np.sin(4 * clouds(rng, height, width, 2.0, 2.5)) * near
    below = np.clip((y - line) / 90, 0, 1)
    shade = 1 + (0.05 + 0.22 * near) * np.clip(light, -2, 2) + 0.14 * fields
    body = paint * shade[..., None] * (1 - 0.25 * near * below[..., None]) + (1 - near) * 0.16 * below[..., None] * colour("#ffe8cc")
    blend(picture, np.clip(body, 0, 1), smooth(-0.5, 0.5, y - line))


def conifer(picture: Array, rng: np.random.Generator, at: float, foot: float, size: float) -> None:
    """A fir of `size` pixels whose trunk stands at (at, foot)."""
    box = window(picture, foot - size, at - size / 3, foot + 2, at + size / 3)
    if box is None:
        return
    part, y, x = box
    down = np.clip((y - (foot - size)) / size, 0, 1)
    fringe = 0.75 + 0.25 * np.abs(np.sin(down * 19 + rng.uniform(0, 6))) + rng.normal(0, 0.10, y.shape).astype(np.float32)
    edge = 0.30 * size * down * fringe - np.abs(x - at)
    green = colour("#2d4a35") * rng.uniform(0.55, 1.15) + colour("#332200") * rng.uniform(0, 0.5)
    lit = 1 + 0.45 * np.clip((x - at) / (0.3 * size), -1, 1) + rng.normal(0, 0.16, y.shape)
    blend(part, np.clip(green * lit[..., None], 0, 1).astype(np.float32), smooth(-0.4, 0.4, edge) * (down > 0.01))


def window(picture: Array, top: float, left: float, bottom: float, right: float) -> tuple[Array, Array, Array] | None:
    """The part of the picture inside a box, as a view, with its y and x; None where they do not meet."""
    height, width = picture.shape[:2]
    y0, x0 = max(int(top * SCALE), 0), max(int(left * SCALE), 0)
    y1, x1 = min(int(bottom * SCALE) + 1, height), min(int(right * SCALE) + 1, width)
    if y0 >= y1 or x0 >= x1:
        return None
    return (picture[y0:y1, x0:x1], *grid(y1 - y0, x1 - x0, x0 / SCALE, y0 / SCALE))


STRIPES = ("#c8352d", "#f4e3c1", "#1f5f8b", "#f4e3c1", "#e0902a", "#f4e3c1")


def balloon(picture: Array, at: float, up: float, turn: float) -> None:
    """A striped hot-air balloon; (at, up): the middle of its envelope; turn: radians about its axis."""
    radius = 33.0
    box = window(picture, up - 40, at - 40, up + 74, at + 40)
    if box is None:
        return
    part, y, x = box
    dy, dx = (y - up) / radius, (x - at) / radius
    half = np.where(dy < 0, np.sqrt(np.clip(1 - dy**2, 0, 1)), np.sqrt(np.clip(1 - (dy / 1.45) ** 2, 0, 1)) ** 1.25)
    half = np.where(dy > 1.36, 0, half)
    across = np.clip(dx / np.maximum(half, 1e-3), -1, 1)
    angle = np.arcsin(across) + turn
    gore = np.floor(angle / (2 * np.pi) * 18).astype(int)
    paint = np.stack([colour(text) for text in STRIPES])[gore % len(STRIPES)]
    band = (np.abs(dy - 0.12) < 0.13)[..., None]
    zigzag = (np.abs((angle / (2 * np.pi) * 18) % 1 - 0.5) * 0.5 + (dy - 0.12) > 0.12)[..., None]
    paint = np.where(band, np.where(zigzag, colour("#24323f"), colour("#f0b83c")), paint)
    seam = np.abs((angle / (2 * np.pi) * 18 + 0.5) % 1 - 0.5) < 0.05
    light = 0.62 + 0.48 * np.clip(0.55 * across - 0.35 * dy + 0.45, 0, 1) - 0.12 * seam
    blend(part, np.clip(paint * light[..., None], 0, 1).astype(np.float32), smooth(-0.4, 0.4, (half - np.abs(dx)) * radius))
    ropes = np.minimum(np.abs(x - at - 5.5 + (y - up - 45) * -0.15), np.abs(x - at + 5.5 - (y - up - 45) * -0.15))
    blend(part, colour("#3a2c22"), 0.8 * smooth(0.9, 0.3, ropes) * ((y > up + 44) & (y < up + 58)))
    weave = 0.8 + 0.3 * (np.sin(x * 3.1) * np.sin(y * 3.1))
    basket = np.maximum(np.abs(x - at) - 6.5, np.abs(y - up - 62) - 4.5)
    blend(part, (colour("#9a6a35") * weave[..., None]).astype(np.float32), smooth(0.5, -0.5, basket))
    blend(part, colour("#5a3a1c"), smooth(0.5, -0.5, np.maximum(np.abs(x - at) - 7, np.abs(y - up - 57.5) - 0.9)))


# --- The forest floor --------------------------------------------------------------------------------------------------------------

LEAVES = ("#b5622a", "#c98a2f", "#d9b04a", "#8f3f22", "#7d5a34", "#a3472b", "#6b6b34", "#e0c27a", "#5e3a22", "#94702f")


def floor(rng: np.random.Generator) -> Array:
    """Fallen leaves, one over another."""
    height, width = HEIGHT * SCALE, WIDTH * SCALE
    grain = clouds(rng, height, width, 1.0)
    picture = np.clip(colour("#3b2a1c") * (1 + 0.25 * grain[..., None]), 0, 1).astype(np.float32)
    for number in range(520):
        size = rng.uniform(26, 50) if number > 200 else rng.uniform(18, 36)
        leaf(picture, rng, grain, rng.uniform(-20, WIDTH + 20), rng.uniform(-20, HEIGHT + 20), size, 0.55 + 0.5 * number / 520)
    y, x = grid(height, width)
    picture *= (1.06 - 0.35 * smooth(150, 420, np.hypot(x - 330, (y - 170) * 1.2)))[..., None]
    return np.clip(picture, 0, 1)


def leaf(picture: Array, rng: np.random.Generator, grain: Array, at: float, up: float, size: float, light: float) -> None:
    """A leaf with midrib, side veins, a jagged edge and a shadow; size: half its length."""
    box = window(picture, up - size - 4, at - size - 4, up + size + 4, at + size + 4)
    if box is None:
        return
    part, y, x = box
    angle, slim, teeth = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.52), rng.uniform(0.02, 0.07)
    paint = colour(LEAVES[rng.integers(len(LEAVES))]) * rng.uniform(0.8, 1.15)
    bend = rng.uniform(-0.25, 0.25)

    def outline(dx: Array, dy: Array) -> tuple[Array, Array, Array]:
        """-> along (-1 … 1) and across the leaf, and how far inside its edge, in pixels."""
        along = (dx * np.cos(angle) + dy * np.sin(angle)) / size
        across = (dy * np.cos(angle) - dx * np.sin(angle)) / size - bend * along**2
        half = slim * np.clip(1 - along**2, 0, 1) ** 0.8 * (1.1 - 0.3 * along) + teeth * np.abs(np.sin(along * 21)) * (1 - along**2)
        return along, across, (half - np.abs(across)) * size

    _, _, shadow = outline(x - at - 2.5, y - up - 3)
    blend(part, colour("#1a110a"), 0.55 * smooth(-2.5, 2, shadow))
    along, across, inside = outline(x - at, y - up)
    veins = np.abs((along - 1.1 * np.abs(across)) * 9 % 1 - 0.5) * 2
    tone = light * (1 + 0.18 * np.sign(across) * smooth(0.02, 0.10, np.abs(across)) + 0.25 * along)
    tone = tone * (1 - 0.18 * smooth(0.28, 0.0, veins)) + 0.07 * grain[tuple(slice(0, n) for n in y.shape)]
    tone = tone * (0.75 + 0.25 * smooth(0, 2.5, inside)) + 0.35 * smooth(0.028, 0.012, np.abs(across))
    blend(part, np.clip(paint * tone[..., None], 0, 1).astype(np.float32), smooth(-0.4, 0.4, inside))


def ladybird(picture: Array, at: float, up: float, angle: float, stride: float) -> None:
    """A ladybird heading for `angle`; stride: phase of its six legs, radians."""
    box = window(picture, up - 34, at - 34, up + 34, at + 34)
    if box is None:
        return
    part, y, x = box
    along = ((x - at) * np.cos(angle) + (y - up) * np.sin(angle)).astype(np.float32)
    across = ((y - up) * np.cos(angle) - (x - at) * np.sin(angle)).astype(np.float32)
    black = colour("#15110f")
    blend(part, np.zeros(3, np.float32), 0.5 * smooth(1.35, 0.75, np.hypot((along - 1) / 19, (across - 3) / 16)))
    for number, root in enumerate((9.0, 0.0, -8.0)):
        for side in (-1, 1):
            swing = 4.0 * np.sin(stride + np.pi * ((number + (side > 0)) % 2))
            reach = np.clip((across * side - 8) / 13, 0, 1)
            line = np.abs(along - root - reach * (swing + (1 - number) * 4))
            blend(part, black, smooth(1.6, 0.8, line) * (across * side > 6) * (across * side < 20))
    blend(part, black, smooth(0.3, -0.3, np.hypot(along - 17, across) - 6.5))
    blend(part, colour("#efe6d8"), smooth(0.3, -0.3, np.hypot(along - 19, np.abs(across) - 4.2) - 1.7))
    blend(part, black, smooth(0.3, -0.3, (np.hypot((along - 12) / 7, across / 10.5) - 1) * 8))
    shell = np.hypot(along / 17, across / 14)
    light = np.clip(1.08 - 0.55 * shell**2 - 0.012 * across - 0.006 * along, 0.2, 1.3)
    blend(part, np.clip(colour("#cf2418") * light[..., None], 0, 1).astype(np.float32), smooth(0.03, -0.03, shell - 1))
    for spot, off, radius in ((7.5, 5.5, 3.0), (-1.5, 8.0, 3.4), (-9.0, 4.6, 2.8), (13.0, 0.0, 2.6)):
        blend(part, black, smooth(0.4, -0.4, np.hypot(along - spot, np.abs(across) - off) - radius) * (shell < 1))
    blend(part, black, smooth(0.9, 0.4, np.abs(across)) * (shell < 1))
    blend(part, colour("#ffffff"), 0.65 * smooth(1.2, 0.2, np.hypot((along - 6) / 4, (across + 6) / 2.2)))


# --- The clip ----------------------------------------------------------------------------------------------------------------------


def frame(number: int, wide: Array, leaves: Array) -> Array:
    """One frame at SCALE times the clip's size."""
    if number < CUT:
        pan = PAN * float(smooth(0, 1, np.float32(max(number - PAN_FROM, 0) / (CUT - PAN_FROM + 8)))) if number > PAN_FROM else 0.0
        left = round(pan * SCALE)
        picture = wide[:, left : left + WIDTH * SCALE].copy()
        balloon(picture, 70 + 4.3 * number - left / SCALE, 118 - 26 * np.sin(number / 34) - 0.18 * number, 0.35 + number * 0.012)
        return picture
    t = number - CUT
    picture = leaves.copy()
    turn = -0.35 + 0.5 * np.sin(t / 13)
    ladybird(picture, 110 + 7.4 * t, 250 - 2.0 * t - 30 * np.sin(t / 13 + 0.4), turn, t * 1.15)
    return picture


def as_bytes(picture: Array) -> NDArray[np.uint8]:
    """Averaged down to the clip's size, 8 bits."""
    small = picture.reshape(HEIGHT, SCALE, WIDTH, SCALE, 3).mean((1, 3))
    return np.floor(np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)


def write(path: Path) -> None:
    rng = np.random.default_rng(24)
    wide, leaves = hills(rng), floor(rng)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as file:
        stream: Any = file.add_stream("libvpx-vp9", rate=FPS, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = WIDTH, HEIGHT, "yuv420p", Fraction(1, FPS)
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range, codec.thread_count = LIMITED, 1
        for number in range(FRAMES):
            rgb = av.VideoFrame.from_ndarray(as_bytes(frame(number, wide, leaves)), format="rgb24")
            shown = rgb.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            shown.pts, shown.time_base = number, Fraction(1, FPS)
            file.mux(stream.encode(shown))
        file.mux(stream.encode())


if __name__ == "__main__":
    write(Path(__file__).with_name("sample.webm"))
