"""What `paint` is fed: where the cells of a frame size lie, in which colours, and which output mode is wanted (SEMANTICS §5).

Cells reach whole lines of pixels, so neighbouring lines that the same cells reach, and that the same cells have as their edge, are one
group. The graph draws once for each pair of groups; its pixels look up theirs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor

from autogaze_web.layout import Layout
from autogaze_web.runtime import HostTensor, floats, ints
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
        mask = "_image" if self.over_image else "_rows" if self.mask_mode == "scale-rows" else ""
        return "paint" + mask + "_blend" * self.full_blend

    @property
    def stage(self) -> str:
        """What the parity gate calls it."""
        return "paint" + "_rows" * (self.mask_mode == "scale-rows") + "_deduplicated" * (self.geometry == "deduplicated")

    @property
    def full_blend(self) -> bool:
        return self.output_mode == "full-blend"

    @property
    def over_image(self) -> bool:
        return self.mask_mode.startswith("image-")

    @property
    def alpha(self) -> int:
        """blend_alpha as 0…255."""
        return round_half_up(Fraction(self.blend_alpha).limit_denominator(10**6) * 255)


def scale_colours(layout: Layout) -> list[tuple[int, int, int]]:
    """The colour of each scale, coarse to fine."""
    return [COLOURS.get(grid, OTHER_COLOURS[scale % len(OTHER_COLOURS)]) for scale, grid in enumerate(layout.grids)]


Colour = tuple[int, ...]


def palette(layout: Layout) -> list[Colour]:
    """By code: nothing, ground, then fill and border of each scale."""
    colours: list[Colour] = [(0, 0, 0), (GROUND,) * 3]
    for colour in scale_colours(layout):
        colours += [tuple(round_half_up(channel * FILL) for channel in colour), colour]
    return colours


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


@dataclass(frozen=True)
class Axis:
    """The lines of pixels down or across a picture, and those [first, end) of each line of cells of each layer."""

    extent: int
    layers: list[list[Range]]

    @cached_property
    def starts(self) -> list[int]:
        """The first line of each group; both edges of a cell are groups of one line."""
        cuts = {0}
        for first, end in (span for ranges in self.layers for span in ranges):
            cuts |= {first, first + 1, end - 1, end} if first < end else set()
        return sorted(cut for cut in cuts if cut < self.extent)

    def groups(self, first: int, end: int) -> range:
        """The groups of lines [first, end)."""
        return range(bisect_left(self.starts, first), bisect_left(self.starts, end))

    def members(self) -> Iterator[tuple[int, int, int, bool]]:
        """(layer, line of cells, group that it has, whether that is its edge)."""
        for layer, ranges in enumerate(self.layers):
            for cell, (first, end) in enumerate(ranges):
                for group in self.groups(first, end):
                    yield layer, cell, group, self.starts[group] in (first, end - 1)

    def index(self, offset: int = 0) -> HostTensor:
        """int32 [extent]: the group of each line, counted from an offset."""
        lines = array("i")
        for group, (first, end) in enumerate(zip(self.starts, [*self.starts[1:], self.extent], strict=True)):
            lines.extend(array("i", [offset + group]) * (end - first))
        return HostTensor(lines, "int32", (self.extent,))


class PaintPlan:
    """Everything about painting that a frame size and settings decide."""

    def __init__(self, tiling: Tiling, layout: Layout, settings: PaintSettings) -> None:
        self.tiling, self.layout, self.settings = tiling, layout, settings
        self.rows, self.columns = frame_axes(tiling, layout, settings)
        self.panel = miniature_axes(tiling, layout, settings) if settings.mask_mode == "scale-rows" else None
        self.layers = len(layout.grids) + (self.panel is not None)
        self.down, self.across = tiling.rows * layout.grids[-1], tiling.columns * layout.grids[-1]
        self.places = [layout.locate(token) for token in range(layout.cells)]

    def feeds(self) -> dict[str, HostTensor]:
        """What the graph takes besides frame, canvas, cells and what `flags` gives; the same for every frame."""
        rows, columns = [self.rows], [self.columns]
        feeds = {"rows": self.rows.index(), "columns": self.columns.index()}
        if self.panel is not None:
            feeds |= {
                "panel_rows": self.panel[0].index(len(self.rows.starts)),
                "panel_columns": self.panel[1].index(len(self.columns.starts)),
            }
            rows, columns = [*rows, self.panel[0]], [*columns, self.panel[1]]
        codes = [(2 + 2 * scale, 3 + 2 * scale) for scale in range(len(self.layout.grids))] + [(1, 1)]  # fill, border; ground
        most = [code for pair in codes[: self.layers] for code in pair]
        feeds |= {
            "across": self._across(columns),
            "down": self._down(rows, codes),
            "most": floats(most, (self.layers, 2, 1, 1)),
        }
        return feeds | tables(self.layout, self.settings)

    def flags(self, whole: bool) -> dict[str, HostTensor]:
        """What the graph is told of a frame of which all is updated, or only what the cells cover."""
        above = -1 if whole else 0
        counted = {"counted": ints([0, above], (2, 1, 1))}
        return counted if self.settings.full_blend else counted | {"above": ints([above])}

    def cells(self, tiles: Sequence[Sequence[int]]) -> HostTensor:
        """float32 [layers, rows of cells, columns of cells], each grid padded to the finest: 1 for the cells drawn; tiles: their ids."""
        drawn = array("f", bytes(4 * self.layers * self.down * self.across))
        scales = self._scales(tiles)
        for scale, members in enumerate(self._uncovered(scales) if self.settings.geometry == "deduplicated" else scales):
            for row, column in members:
                drawn[(scale * self.down + row) * self.across + column] = 1.0
        if self.panel is not None:
            drawn[len(scales) * self.down * self.across] = 1.0  # the ground, one cell that is always on
        return HostTensor(drawn, "float32", (self.layers, self.down, self.across))

    def _scales(self, tiles: Sequence[Sequence[int]]) -> list[list[tuple[int, int]]]:
        """By scale: row and column of each cell in the grid of the whole frame."""
        scales: list[list[tuple[int, int]]] = [[] for _ in self.layout.grids]
        for tile, tokens in enumerate(tiles):
            tile_row, tile_column = divmod(tile, self.tiling.columns)
            for token in tokens:
                scale, row, column = self.places[token]
                grid = self.layout.grids[scale]
                scales[scale].append((tile_row * grid + row, tile_column * grid + column))
        return scales

    def _uncovered(self, scales: list[list[tuple[int, int]]]) -> Iterator[list[tuple[int, int]]]:
        """Without the cells whose pixels coarser ones cover; cells of a scale do not hide each other."""
        taken = [0] * len(self.rows.starts)  # by group of rows: the groups of columns, as bits
        for scale, members in enumerate(scales):
            rows = [self.rows.groups(*span) for span in self.rows.layers[scale]]
            columns = [self.columns.groups(*span) for span in self.columns.layers[scale]]
            bits = [(1 << groups.stop) - (1 << groups.start) for groups in columns]
            kept = [(row, column) for row, column in members if any(bits[column] & ~taken[group] for group in rows[row])]
            for row, column in kept:
                for group in rows[row]:
                    taken[group] |= bits[column]
            yield kept

    def _across(self, axes: list[Axis]) -> HostTensor:
        """float32 [layers, columns of cells, 2 · groups]: 1 where a cell has the group; then, has it as its edge."""
        groups = sum(len(axis.starts) for axis in axes)
        matrix = array("f", bytes(4 * self.layers * self.across * 2 * groups))
        for layer, cell, group, edge in members(axes):
            at = (layer * self.across + cell) * 2 * groups + group
            matrix[at] = 1.0
            if edge:
                matrix[at + groups] = 1.0
        return HostTensor(matrix, "float32", (self.layers, self.across, 2 * groups))

    def _down(self, axes: list[Axis], codes: Sequence[tuple[int, int]]) -> HostTensor:
        """float32 [layers, 2 · groups, 2 · rows of cells]: what to draw in the columns that a cell has, and in those of its edge.

        First the fill where a cell has the rows; then the border: in all columns of the rows of its edge, and in its edge of all rows.
        """
        groups = sum(len(axis.starts) for axis in axes)
        matrix = array("f", bytes(4 * self.layers * 2 * groups * 2 * self.down))
        for layer, cell, group, edge in members(axes):
            fill, border = codes[layer]
            at = (layer * 2 * groups + group) * 2 * self.down + 2 * cell
            matrix[at] = fill
            at += groups * 2 * self.down
            matrix[at + 1] = border
            if edge:
                matrix[at] = border
        return HostTensor(matrix, "float32", (self.layers, 2 * groups, 2 * self.down))


def members(axes: Sequence[Axis]) -> Iterator[tuple[int, int, int, bool]]:
    """As Axis.members, with the groups of all counted on."""
    offset = 0
    for axis in axes:
        for layer, cell, group, edge in axis.members():
            yield layer, cell, offset + group, edge
        offset += len(axis.starts)


def frame_axes(tiling: Tiling, layout: Layout, settings: PaintSettings) -> tuple[Axis, Axis]:
    """Rows and columns of the frame, a layer a scale."""
    finest = layout.grids[-1]
    rows = [cell_ranges(tiling.rows * grid, tiling.height, settings, grid, finest) for grid in layout.grids]
    columns = [cell_ranges(tiling.columns * grid, tiling.width, settings, grid, finest) for grid in layout.grids]
    return Axis(tiling.height, rows), Axis(tiling.width, columns)


def miniature_axes(tiling: Tiling, layout: Layout, settings: PaintSettings) -> tuple[Axis, Axis]:
    """Rows and columns of the panel of scale-rows: a band a scale, coarse on top, each as high as a band and centred; then its ground."""
    finest, bands = layout.grids[-1], len(layout.grids)
    high = tiling.height // bands
    wide = tiling.width * high // tiling.height  # aspect-true
    left = (tiling.width - wide) // 2
    rows = [moved(cell_ranges(tiling.rows * grid, high, settings, grid, finest), band * high) for band, grid in enumerate(layout.grids)]
    columns = [moved(cell_ranges(tiling.columns * grid, wide, settings, grid, finest), left) for grid in layout.grids]
    return Axis(tiling.height, [*rows, [(0, tiling.height)]]), Axis(tiling.width, [*columns, [(left, left + wide)]])


def moved(ranges: Sequence[Range], offset: int) -> list[Range]:
    return [(first + offset, end + offset) for first, end in ranges]


def tables(layout: Layout, settings: PaintSettings) -> dict[str, HostTensor]:
    """Colours by code, float32 [codes, 4]; or how a panel is mixed: channel · share + more is the blend, once it is floored."""
    colours, found = palette(layout), {}
    if settings.over_image:
        outside = 0 if settings.mask_mode == "image-mask-only" else 1
        found["shown"], found["tint"] = mixed(colours, settings.alpha, outside)
    else:
        found["colours"] = floats([value for colour in colours for value in (*colour, 255)], (len(colours), 4))
    if settings.full_blend:
        found["kept"], found["white"] = mixed([(255,) * 3] * len(colours), settings.alpha, 1)
    return found


def mixed(colours: Sequence[Colour], opacity: int, outside: int) -> tuple[HostTensor, HostTensor]:
    """(channel · (255 − opacity) + colour · opacity) / 255, rounded half up, as share and more; outside the cells: the picture, or 0.

    A whole number of 255ths and a half is never nearer to an integer than 1/510, which float32 does not bridge.
    """
    shares, additions = [float(outside)] * 3 + [0.0], [0.0] * 3 + [255.0 * outside]
    for colour in colours[1:]:
        shares += [(255 - opacity) / 255] * 3 + [0.0]
        additions += [(channel * opacity + 127.5) / 255 for channel in colour] + [255.0]
    shape = (len(colours), 4)
    return floats(shares, shape), floats(additions, shape)
