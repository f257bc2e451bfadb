"""How a frame is cut into the model's square inputs, and what `prepare` must be fed for it (SEMANTICS §2)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from autogaze_web.config import ModelConfig, PreprocessorConfig
from autogaze_web.layout import pixel_range
from autogaze_web.resample import level_table, pillow_bilinear, resize_pass, torch_bicubic
from autogaze_web.runtime import HostTensor

MODES = ("resize", "tiled")


@dataclass(frozen=True)
class Tiling:
    """One frame size and its grid of tiles; the tiles are the rows of the model's batch, row-major."""

    mode: str  # one of MODES
    width: int  # of the frame, pixels
    height: int
    columns: int  # tiles
    rows: int

    @property
    def tiles(self) -> int:
        return self.columns * self.rows

    def tile_pixels(self, tile: int) -> tuple[int, int, int, int]:
        """The frame's pixels a tile stands for: x0, y0, x1, y1, ends exclusive."""
        row, column = divmod(tile, self.columns)
        (x0, x1), (y0, y1) = pixel_range(column, self.columns, self.width), pixel_range(row, self.rows, self.height)
        return x0, y0, x1, y1

    def cell_rows(self, grid: int) -> list[tuple[int, int]]:
        """Pixel rows [first, end) of each row of cells of a scale, over all tiles: rows · grid of them."""
        return [pixel_range(row, self.rows * grid, self.height) for row in range(self.rows * grid)]

    def cell_columns(self, grid: int) -> list[tuple[int, int]]:
        """Pixel columns [first, end) of each column of cells of a scale, over all tiles."""
        return [pixel_range(column, self.columns * grid, self.width) for column in range(self.columns * grid)]


def plan_tiles(mode: str, width: int, height: int, config: ModelConfig) -> Tiling:
    """The tiling of a frame: one tile, or the frame stretched to the next multiples of a tile each way."""
    if mode == "resize":
        return Tiling(mode, width, height, 1, 1)
    tile = config.input_size
    return Tiling(mode, width, height, -(width // -tile), -(height // -tile))


def prepare_feeds(tiling: Tiling, config: ModelConfig, preprocessor: PreprocessorConfig) -> dict[str, HostTensor]:
    """What `prepare` (or `prepare_tiled`) takes besides the frame; the same for every frame of a size."""
    feeds = {"levels": level_table(preprocessor)}
    if tiling.mode == "tiled":
        columns, rows = tiling.columns * config.input_size, tiling.rows * config.input_size
        return feeds | _passes(tiling, config, columns, rows, range(columns), range(rows))
    columns, rows = shortest_edge(tiling.width, tiling.height, preprocessor.size)
    # The bicubic step reads four pixels an output. An extreme aspect ratio makes the picture in between enormous; only what is read
    # of it is computed.
    column_taps, row_taps = torch_bicubic(columns, config.input_size), torch_bicubic(rows, config.input_size)
    needed_columns = sorted({pixel for pixels, _ in column_taps for pixel in pixels})
    needed_rows = sorted({pixel for pixels, _ in row_taps for pixel in pixels})
    passes = _passes(tiling, config, columns, rows, needed_columns, needed_rows)
    column_count, row_count = (passes[name].shape[0] * config.patch for name in ("column_index", "row_index"))
    by_output = _matrix(row_taps, needed_rows, row_count)
    by_input = _matrix(column_taps, needed_columns, column_count)
    transposed = array("f", (by_input[output * column_count + line] for line in range(column_count) for output in range(config.input_size)))
    return (
        feeds
        | passes
        | {
            "bicubic_rows": HostTensor(by_output, "float32", (config.input_size, row_count)),
            "bicubic_columns": HostTensor(transposed, "float32", (column_count, config.input_size)),
        }
    )


def shortest_edge(width: int, height: int, size: int) -> tuple[int, int]:
    """The size of a frame whose shortest edge becomes `size`; the long edge is truncated, as upstream's image processor does."""
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size


def _passes(
    tiling: Tiling, config: ModelConfig, width: int, height: int, columns: Sequence[int], rows: Sequence[int]
) -> dict[str, HostTensor]:
    """The two 8-bit passes to width × height, for the output columns and rows that are wanted."""
    column_pass = resize_pass(pillow_bilinear(tiling.width, width, columns), config.patch)
    row_pass = resize_pass(pillow_bilinear(tiling.height, height, rows), config.patch)
    return {
        "column_index": column_pass.index,
        "column_weights": column_pass.weights,
        "row_index": row_pass.index,
        "row_weights": row_pass.weights,
    }


def _matrix(taps: Sequence[tuple[list[int], list[float]]], needed: Sequence[int], lines: int) -> array[float]:
    """Bicubic taps as a matrix [outputs, lines], row-major, over the needed pixels; clamped pixels add up."""
    place = {pixel: line for line, pixel in enumerate(needed)}
    matrix = array("f", bytes(4 * len(taps) * lines))
    for output, (pixels, weights) in enumerate(taps):
        for pixel, weight in zip(pixels, weights, strict=True):
            matrix[output * lines + place[pixel]] += weight
    return matrix
