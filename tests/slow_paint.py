"""Painting, slowly: rectangles filled one after another, as a person would write it from the page on semantics (§5).

Shares no code with the product: rectangles, colours, order and blends are stated here a second time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # [height, width, 3 or 4]
Region = NDArray[np.bool_]  # [height, width]
Colour = tuple[int, int, int]

COLOURS: dict[int, Colour] = {2: (255, 180, 0), 4: (60, 220, 120), 7: (0, 185, 255), 14: (230, 110, 255)}  # by grid
GREY = (24, 24, 24)


class Cell(NamedTuple):
    """One token that was looked at, by where it is in the whole frame."""

    scale: int  # 0 is the coarsest
    tile_row: int
    tile_column: int
    row: int  # in its tile
    column: int


class Rectangle(NamedTuple):
    """Pixels [y0, y1) × [x0, x1)."""

    y0: int
    y1: int
    x0: int
    x1: int


class Painted(NamedTuple):
    """What one frame gives."""

    mask_panel: Image
    output_panel: Image
    canvas: Image
    row_stats: NDArray[np.int32]


@dataclass(frozen=True)
class Scene:
    """A frame size, its tiles and grids, and how it is to be drawn; alpha and cell_scale are decimals as a person types them."""

    width: int
    height: int
    tile_columns: int = 1
    tile_rows: int = 1
    grids: tuple[int, ...] = (2, 4, 7, 14)
    output_mode: str = "interframe"
    mask_mode: str = "overlay"
    geometry: str = "native"
    alpha: str = "0.38"
    cell_scale: str = "1"
    keyframe: bool = False

    @property
    def opacity(self) -> int:
        return half_up(Fraction(self.alpha) * 255)

    def cells(self, emitted: NDArray[Any]) -> list[list[Cell]]:
        """emitted [tile_rows, tile_columns, cells] -> for each scale the cells that are on."""
        found: list[list[Cell]] = [[] for _ in self.grids]
        for tile_row in range(self.tile_rows):
            for tile_column in range(self.tile_columns):
                token = 0
                for scale, grid in enumerate(self.grids):
                    for row in range(grid):
                        for column in range(grid):
                            if emitted[tile_row, tile_column, token]:
                                found[scale].append(Cell(scale, tile_row, tile_column, row, column))
                            token += 1
        return found

    def rectangle(self, cell: Cell, width: int, height: int) -> Rectangle:
        """Where a cell is drawn in a picture of width × height."""
        grid, row, column = self.grids[cell.scale], cell.row, cell.column
        if self.geometry == "effective":
            finest = self.grids[-1]
            row, column = (floor((place + Fraction(1, 2)) * finest / grid) for place in (row, column))
            grid = finest
        y0, y1 = self.span(cell.tile_row * grid + row, self.tile_rows * grid, height)
        x0, x1 = self.span(cell.tile_column * grid + column, self.tile_columns * grid, width)
        return Rectangle(y0, y1, x0, x1)

    def span(self, index: int, parts: int, extent: int) -> tuple[int, int]:
        part, slack = Fraction(extent, parts), (1 - Fraction(self.cell_scale)) / 2  # slack: of a part, at both ends
        return max(0, floor((index + slack) * part)), min(extent, ceil((index + 1 - slack) * part))

    def drawn(self, emitted: NDArray[Any]) -> list[list[Cell]]:
        """The cells of the geometry, by scale."""
        cells = self.cells(emitted)
        if self.geometry != "deduplicated":
            return cells
        kept, taken = [], np.zeros((self.height, self.width), bool)
        for members in cells:
            kept.append([cell for cell in members if not self.pixels(taken, cell).all()])
            for cell in kept[-1]:  # only now: cells of a scale do not hide each other
                self.pixels(taken, cell)[:] = True
        return kept

    def pixels(self, region: Region, cell: Cell) -> Region:
        y0, y1, x0, x1 = self.rectangle(cell, self.width, self.height)
        return region[y0:y1, x0:x1]


def paint(scene: Scene, frame: Image, canvas: Image, emitted: NDArray[Any]) -> Painted:
    """The panels, the canvas for the next frame and the numbers of each pixel row."""
    picture, drawn = frame[..., :3], scene.drawn(emitted)
    union = np.zeros((scene.height, scene.width), bool)
    for members in drawn:
        for cell in members:
            scene.pixels(union, cell)[:] = True
    whole = scene.keyframe or scene.output_mode == "full-blend"
    updated = np.ones_like(union) if whole else union
    kept = np.where(updated[..., None], picture, canvas[..., :3])
    output = kept
    if scene.output_mode == "full-blend":
        output = np.where(union[..., None], blend(kept, np.full_like(kept, 255), scene.opacity), kept)
    return Painted(mask_panel(scene, picture, drawn), opaque(output), opaque(kept), row_numbers(union, updated, output, picture))


def row_numbers(union: Region, updated: Region, output: Image, picture: Image) -> NDArray[np.int32]:
    """[3, height]: per pixel row the pixels covered, those updated, and the squared error over red, green and blue."""
    numbers = np.zeros((3, len(union)), np.int32)
    for y in range(len(union)):
        error = output[y].astype(int) - picture[y]
        numbers[:, y] = union[y].sum(), updated[y].sum(), (error * error).sum()
    return numbers


def mask_panel(scene: Scene, picture: Image, drawn: list[list[Cell]]) -> Image:
    if scene.mask_mode == "scale-rows":
        return scale_rows(scene, drawn)
    colours, covered = np.zeros_like(picture), np.zeros(picture.shape[:2], bool)
    for members in drawn:
        draw(colours, covered, scene, members, scene.width, scene.height)
    if scene.mask_mode == "overlay":
        return opaque(colours)
    over = np.where(covered[..., None], blend(picture, colours, scene.opacity), picture)
    panel = opaque(over)
    if scene.mask_mode == "image-mask-only":
        panel[~covered] = 0
    return panel


def scale_rows(scene: Scene, drawn: list[list[Cell]]) -> Image:
    panel = np.zeros((scene.height, scene.width, 3), np.uint8)
    high = scene.height // len(scene.grids)
    wide = scene.width * high // scene.height
    left = (scene.width - wide) // 2
    panel[:, left : left + wide] = GREY
    for band, members in enumerate(drawn):
        miniature = panel[band * high : (band + 1) * high, left : left + wide]
        draw(miniature, np.zeros((high, wide), bool), scene, members, wide, high)
    return opaque(panel)


def draw(colours: Image, covered: Region, scene: Scene, members: Iterable[Cell], width: int, height: int) -> None:
    """Cells of one scale into a picture of width × height: every fill, then every border."""
    rectangles = [(scene.rectangle(cell, width, height), COLOURS[scene.grids[cell.scale]]) for cell in members]
    for (y0, y1, x0, x1), colour in rectangles:
        colours[y0:y1, x0:x1] = [half_up(Fraction(42, 100) * channel) for channel in colour]
        covered[y0:y1, x0:x1] = True
    for (y0, y1, x0, x1), colour in rectangles:
        colours[y0:y1, x0:x1][:1] = colours[y0:y1, x0:x1][-1:] = colour
        colours[y0:y1, x0:x1][:, :1] = colours[y0:y1, x0:x1][:, -1:] = colour


def blend(under: Image, over: Image, opacity: int) -> Image:
    """floor((under · (255 − A) + over · A) / 255 + 1/2), in integers."""
    mixed = under.astype(int) * (255 - opacity) + over.astype(int) * opacity
    result: Image = ((2 * mixed + 255) // 510).astype(np.uint8)
    return result


def opaque(colours: Image) -> Image:
    return np.concatenate([colours, np.full((*colours.shape[:2], 1), 255, np.uint8)], axis=2)


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))
