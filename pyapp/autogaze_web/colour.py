"""Decoded frames become RGB by graphs of ours, `rgb` and `rgb_turned`, so that the page and the command line see the same pixels.

R'G'B' of Y'CbCr by ITU-T H.273, equations 38 to 44 for full and 45 to 47 for limited range, with its weights of red and blue (table 4):

    R' = Y' + 2 (1 − Kr) Cr        B' = Y' + 2 (1 − Kb) Cb        G' = (Y' − Kr R' − Kb B') / (1 − Kr − Kb)

Coefficients are integers over 2^13 and the sum is rounded half up. A picture's chroma is repeated, not interpolated: the sample of column x
is x // 2. Which sample each pixel reads is told by lists of rows and columns, which is also how planes are cropped, turned and mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass

from autogaze_web.pipeline import SourceFrame
from autogaze_web.runtime import HostTensor, Runtime, Tensor, floats, ints

COEFFICIENT_BITS = 13  # 255 times any coefficient, and the sum of the three, stay below 2^24: exact in float32 in any order
MATRICES = {  # Kr, Kb
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}
RGB = "rgb"  # H.273's identity: green where luma is, blue and red where chroma is
MATRIX_NAMES = {  # WebCodecs' and FFmpeg's names
    "rgb": RGB,
    "gbr": RGB,
    "bt709": "bt709",
    "fcc": "fcc",
    "bt470bg": "bt601",
    "smpte170m": "bt601",
    "smpte240m": "smpte240m",
    "bt2020-ncl": "bt2020",
    "bt2020nc": "bt2020",
    "bt2020-cl": "bt2020",
    "bt2020c": "bt2020",
}


@dataclass(frozen=True)
class Samples:
    """Where a format keeps its three components: G or luma, B or Cb, R or Cr."""

    planes: tuple[int, int, int]  # which plane each is in
    down: int = 1  # rows of luma to one of chroma
    across: int = 1  # columns of luma to one of chroma
    steps: tuple[int, int, int] = (1, 1, 1)  # bytes from one sample to the next
    firsts: tuple[int, int, int] = (0, 0, 0)  # bytes before the first

    @property
    def packed(self) -> bool:
        """All in one plane: RGB already."""
        return len(set(self.planes)) == 1

    def sizes(self, width: int, height: int) -> list[tuple[int, int]]:
        """Rows and bytes of a line of each plane of a picture of so many pixels; lines may be longer."""
        luma = (height, width * self.steps[0])
        chroma = (-(-height // self.down), -(-width // self.across) * self.steps[1])
        return [luma, *[chroma] * max(self.planes)]


FORMATS = {  # by WebCodecs' names; "A" and "X" are bytes that are skipped
    "I420": Samples((0, 1, 2), 2, 2),
    "I422": Samples((0, 1, 2), 1, 2),
    "I444": Samples((0, 1, 2)),
    "NV12": Samples((0, 1, 1), 2, 2, (1, 2, 2), (0, 0, 1)),
    "RGBA": Samples((0, 0, 0), steps=(4, 4, 4), firsts=(1, 2, 0)),
    "RGBX": Samples((0, 0, 0), steps=(4, 4, 4), firsts=(1, 2, 0)),
    "BGRA": Samples((0, 0, 0), steps=(4, 4, 4), firsts=(1, 0, 2)),
    "BGRX": Samples((0, 0, 0), steps=(4, 4, 4), firsts=(1, 0, 2)),
}


def matrix_of(name: str | None) -> str:
    """The matrix by the name that WebCodecs or FFmpeg gives it; BT.601 where the video names none, or one that is not known here."""
    return MATRIX_NAMES.get(name or "", "bt601")


def full_range_of(told: bool | None) -> bool:
    """Limited where the video does not say."""
    return told is True


@dataclass(frozen=True)
class Kind:
    """What the tables of a picture depend on: everything but its pixels."""

    width: int  # visible, as stored: before turning
    height: int
    format: str  # a key of FORMATS
    matrix: str  # RGB or a key of MATRICES
    full_range: bool
    swap: bool  # rows with columns, first; then mirror
    flip_x: bool
    flip_y: bool


@dataclass(frozen=True)
class Picture:
    """A decoded frame in the runtime, not yet RGB. Planes begin at the first visible sample; lines may be longer than what is visible."""

    index: int
    time_s: float
    width: int  # visible, as stored: before turning
    height: int
    format: str  # a key of FORMATS
    matrix: str  # as matrix_of gives it; without meaning where the format is RGB already
    full_range: bool
    swap: bool  # rows with columns, first; then mirror
    flip_x: bool
    flip_y: bool
    planes: tuple[Tensor, ...]  # uint8 [rows, bytes of a line], as many as the format has: I420 3, NV12 2, RGBA 1

    @property
    def kind(self) -> Kind:
        """Normalised: RGB has no matrix and no range, and the identity is for pictures with as much chroma as luma (H.273)."""
        samples = FORMATS[self.format]
        subsampled = samples.down * samples.across > 1
        matrix = RGB if samples.packed else "bt601" if subsampled and self.matrix == RGB else self.matrix
        full_range = samples.packed or self.full_range
        return Kind(self.width, self.height, self.format, matrix, full_range, self.swap, self.flip_x, self.flip_y)


class Colours:
    """Turns pictures into frames. Keeps the tables of the latest kind."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.kind: Kind | None = None
        self.feeds: dict[str, Tensor] = {}

    async def frame(self, picture: Picture) -> SourceFrame:
        """The frame as displayed, uint8 [height, width, 4], opaque. Releases the planes; the caller releases the frame."""
        luma, blue, red = (picture.planes[plane] for plane in FORMATS[picture.format].planes)
        try:
            feeds = self._feeds(picture.kind)
            graph = "rgb_turned" if picture.swap else "rgb"
            outputs = await self.runtime.run(graph, {"luma": luma, "blue": blue, "red": red, **feeds})
        finally:
            self.runtime.release(picture.planes)
        width, height = (picture.height, picture.width) if picture.swap else (picture.width, picture.height)
        return SourceFrame(picture.index, picture.time_s, width, height, outputs["frame"])

    def release(self) -> None:
        """Give back every tensor."""
        self.runtime.release(list(self.feeds.values()))
        self.feeds, self.kind = {}, None

    def _feeds(self, kind: Kind) -> dict[str, Tensor]:
        if self.kind != kind:
            self.release()
            self.feeds = {name: self.runtime.upload(tensor) for name, tensor in colour_feeds(kind).items()}
            self.kind = kind
        return self.feeds


def colour_feeds(kind: Kind) -> dict[str, HostTensor]:
    """Everything that the graphs take besides the planes."""
    samples = FORMATS[kind.format]
    flip_rows, flip_columns = (kind.flip_x, kind.flip_y) if kind.swap else (kind.flip_y, kind.flip_x)
    rows, columns = line(kind.height, flip_rows), line(kind.width, flip_columns)
    luma, blue, red = ((first, step) for first, step in zip(samples.firsts, samples.steps, strict=True))
    return {
        "luma_rows": ints(rows),
        "luma_columns": ints([luma[0] + luma[1] * x for x in columns]),
        "chroma_rows": ints([y // samples.down for y in rows]),
        "blue_columns": ints([blue[0] + blue[1] * (x // samples.across) for x in columns]),
        "red_columns": ints([red[0] + red[1] * (x // samples.across) for x in columns]),
        **coefficients(kind.matrix, kind.full_range),
    }


def line(length: int, flip: bool) -> list[int]:
    """0, 1, 2 … or the other way round."""
    return list(range(length - 1, -1, -1) if flip else range(length))


def coefficients(matrix: str, full_range: bool) -> dict[str, HostTensor]:
    """What one level of luma, blue and red difference adds to red, green, blue and alpha, and what they begin with: float32 [4, 1, 1] each.

    Integers over 2^13, which float32 holds exactly.
    """
    unit = 1 << COEFFICIENT_BITS
    luma_scale, chroma_scale, black = (1.0, 1.0, 0) if full_range else (255 / 219, 255 / 224, 16)
    if matrix == RGB:
        gain = round(unit * luma_scale)
        luma, blue, red, middle = [0, gain, 0, 0], [0, 0, gain, 0], [gain, 0, 0, 0], black
    else:
        kr, kb = MATRICES[matrix]
        gain, kg = round(unit * luma_scale), 1 - kr - kb
        to_red, to_blue = (round(unit * chroma_scale * 2 * (1 - k)) for k in (kr, kb))
        green_red, green_blue = (round(unit * chroma_scale * 2 * (1 - k) * k / kg) for k in (kr, kb))
        luma, blue, red, middle = [gain, gain, gain, 0], [0, -green_blue, to_blue, 0], [to_red, -green_red, 0, 0], 128
    alpha = 255 * unit
    start = [unit // 2 - black * y - middle * (b + r) for y, b, r in zip(luma[:3], blue[:3], red[:3], strict=True)]
    columns = {"luma_gain": luma, "blue_gain": blue, "red_gain": red, "start": [*start, alpha]}
    return {name: floats([value / unit for value in column], (4, 1, 1)) for name, column in columns.items()}
