"""What `paint` is fed: where the cells of a frame size lie, in which colours, and which output mode is wanted (SEMANTICS §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from autogaze_web.layout import Layout
from autogaze_web.runtime import HostTensor, floats
from autogaze_web.tiles import Tiling

OUTPUT_MODES = ("interframe", "full-blend")
MASK_MODES = ("overlay", "image-overlay", "image-mask-only", "scale-rows")
GEOMETRIES = ("native", "deduplicated", "effective")
COLOURS = {2: (255, 180, 0), 4: (60, 220, 120), 7: (0, 185, 255), 14: (230, 110, 255)}  # by grid
OTHER_COLOURS = ((255, 180, 0), (60, 220, 120), (0, 185, 255), (230, 110, 255))  # by scale, for grids not named above
FILL = Fraction(42, 100)  # of a cell's colour, inside its border
GROUND = 24  # grey of a miniature where it has no cell

Range = tuple[int, int]


@dataclass(frozen=True)
class PaintSettings:
    """How gaze is drawn; none of it changes what the model looks at."""

    output_mode: str = "interframe"  # one of OUTPUT_MODES
    mask_mode: str = "overlay"  # one of MASK_MODES
    geometry: str = "native"  # one of GEOMETRIES
    keyframe_duration: int = 30  # frames between keyframes of interframe; 0: only the first
    blend_alpha: float = 0.38  # 0…1, of the mask's colour over the picture, and of white over the cells in full-blend
    mask_cell_scale: float = 1.0  # size of drawn and updated cells about their centre

    @property
    def graph(self) -> str:
        """The graph that draws these settings."""
        rows, deduplicated = self.mask_mode == "scale-rows", self.geometry == "deduplicated"
        return "paint" + "_rows" * rows + "_deduplicated" * deduplicated


def scale_colours(layout: Layout) -> list[tuple[int, int, int]]:
    """The colour of each scale, coarse to fine."""
    return [COLOURS.get(grid, OTHER_COLOURS[scale % len(OTHER_COLOURS)]) for scale, grid in enumerate(layout.grids)]


def palette(layout: Layout) -> HostTensor:
    """float32 [2 + 2 · scales, 3]: nothing, ground, then fill and border of each scale."""
    colours: list[tuple[int, ...]] = [(0, 0, 0), (GROUND,) * 3]
    for colour in scale_colours(layout):
        colours += [tuple(round_half_up(channel * FILL) for channel in colour), colour]
    return floats([channel for colour in colours for channel in colour], (len(colours), 3))


def round_half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def scaled_range(index: int, parts: int, extent: int, scale: Fraction) -> Range:
    """The pixels of part `index` of `parts`, scaled about its centre and cut to [0, extent); the exact rule of layout.pixel_range at 1."""
    centre, half = Fraction(2 * index + 1, 2 * parts) * extent, scale * extent / (2 * parts)
    return max(floor(centre - half), 0), min(ceil(centre + half), extent)


def cell_ranges(parts: int, extent: int, settings: PaintSettings, grid: int, finest: int) -> list[Range]:
    """Pixel lines [first, end) of each of `parts` lines of cells of a scale whose grid has `grid` lines a tile.

    effective: the line of the finest grid that holds the cell's centre.
    """
    scale = Fraction(settings.mask_cell_scale).limit_denominator(1000)
    if settings.geometry != "effective":
        return [scaled_range(line, parts, extent, scale) for line in range(parts)]
    fine = parts // grid * finest
    return [scaled_range((2 * line + 1) * finest // (2 * grid), fine, extent, scale) for line in range(parts)]


def paint_feeds(tiling: Tiling, layout: Layout, settings: PaintSettings) -> dict[str, HostTensor]:
    """What the paint graph takes besides frame, canvas, cells and keyframe; the same for every frame of a size."""
    finest = layout.grids[-1]
    full_blend, over_image = settings.output_mode == "full-blend", settings.mask_mode.startswith("image-")
    alpha = round_half_up(Fraction(settings.blend_alpha).limit_denominator(10**6) * 255)
    feeds = {
        "ys": floats(range(tiling.height)),
        "xs": floats(range(tiling.width)),
        "palette": palette(layout),
        "white": floats([alpha if full_blend else 0]),
    }
    for grid in layout.grids:
        feeds[f"rows_{grid}"] = _pairs(cell_ranges(tiling.rows * grid, tiling.height, settings, grid, finest))
        feeds[f"columns_{grid}"] = _pairs(cell_ranges(tiling.columns * grid, tiling.width, settings, grid, finest))
    if settings.mask_mode == "scale-rows":
        return feeds | miniature_feeds(tiling, layout, settings)
    return feeds | {
        "opacity": floats([alpha if over_image else 255]),
        "ground": floats([1 if over_image else 0]),
        "outside": floats([0 if settings.mask_mode == "image-mask-only" else 1]),
    }


def miniature_feeds(tiling: Tiling, layout: Layout, settings: PaintSettings) -> dict[str, HostTensor]:
    """Where the miniatures of scale-rows lie: a band a scale, coarse on top, each as high as a band and centred."""
    finest, bands = layout.grids[-1], len(layout.grids)
    high = tiling.height // bands
    wide = tiling.width * high // tiling.height  # aspect-true
    left = (tiling.width - wide) // 2
    feeds = {"strip": _pairs([(left, left + wide)])}
    for band, grid in enumerate(layout.grids):
        rows = cell_ranges(tiling.rows * grid, high, settings, grid, finest)
        columns = cell_ranges(tiling.columns * grid, wide, settings, grid, finest)
        feeds[f"panel_rows_{grid}"] = _pairs(rows, band * high)
        feeds[f"panel_columns_{grid}"] = _pairs(columns, left)
    return feeds


def _pairs(ranges: Sequence[Range], offset: int = 0) -> HostTensor:
    return floats([line + offset for pair in ranges for line in pair], (len(ranges), 2))
