"""Tiles and cells cover a frame of any size, and `prepare` is fed no more than it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autogaze_web.config import ModelConfig, PreprocessorConfig
from autogaze_web.paint import PaintSettings, cell_ranges
from autogaze_web.tiles import Tiling, plan_tiles, prepare_feeds, shortest_edge
from graph_runs import arrays

GRIDS = (2, 4, 7, 14)
CORNERS = ((1, 1), (4096, 1), (1, 2304), (4096, 2304), (224, 224), (225, 223), (640, 480), (1280, 720), (1920, 1080), (13, 448))

widths, heights = st.integers(1, 4096), st.integers(1, 2304)


def plan(width: int, height: int) -> Tiling:
    """As plan_tiles for upstream's tile of 224 pixels; see test_tiled_has_a_tile_for_each_224_pixels_begun."""
    return Tiling("tiled", width, height, (width + 223) // 224, (height + 223) // 224)


def counts(ranges: Iterable[tuple[int, int]], extent: int) -> list[int]:
    """How many of the ranges have each line."""
    steps = Counter[int]()
    for first, end in ranges:
        assert 0 <= first < end <= extent
        steps[first] += 1
        steps[end] -= 1
    running, lines = 0, []
    for line in range(extent):
        running += steps[line]
        lines.append(running)
    return lines


@pytest.mark.parametrize(
    ("width", "height", "columns", "rows"),
    [
        (1, 1, 1, 1),
        (224, 224, 1, 1),
        (225, 224, 2, 1),
        (224, 225, 1, 2),
        (1280, 720, 6, 4),
        (1920, 1080, 9, 5),
        (3840, 2160, 18, 10),
        (4096, 2304, 19, 11),
    ],
)
def test_tiled_has_a_tile_for_each_224_pixels_begun(config: ModelConfig, width: int, height: int, columns: int, rows: int) -> None:
    tiling = plan_tiles("tiled", width, height, config)
    assert tiling == Tiling("tiled", width, height, columns, rows) == plan(width, height)
    assert tiling.tiles == columns * rows


@pytest.mark.parametrize(("width", "height"), CORNERS)
def test_resize_has_one_tile_of_the_whole_frame(config: ModelConfig, width: int, height: int) -> None:
    tiling = plan_tiles("resize", width, height, config)
    assert tiling.tiles == 1 and tiling.tile_pixels(0) == (0, 0, width, height)


@pytest.mark.parametrize(
    ("frame", "resized"),
    [
        ((640, 480), (298, 224)),
        ((480, 640), (224, 298)),
        ((1920, 1080), (398, 224)),
        ((1080, 1920), (224, 398)),
        ((224, 224), (224, 224)),
        ((300, 224), (300, 224)),
        ((1, 1), (224, 224)),
        ((4096, 1), (917_504, 224)),
        ((3, 2000), (224, 149_333)),
    ],
)
def test_shortest_edge_of_known_frames(frame: tuple[int, int], resized: tuple[int, int]) -> None:
    assert shortest_edge(*frame, 224) == resized


@given(widths, heights, st.integers(1, 1024))
def test_shortest_edge_truncates_the_long_edge(width: int, height: int, size: int) -> None:
    expected = size * max(width, height) // min(width, height)
    assert shortest_edge(width, height, size) == ((size, expected) if width <= height else (expected, size))


@given(widths, heights)
@example(4096, 2304)
@example(225, 223)
@example(1, 1)
def test_tiles_cover_the_frame_and_share_only_pixels_that_a_boundary_cuts(width: int, height: int) -> None:
    tiling = plan(width, height)
    tiles = [tiling.tile_pixels(tile) for tile in range(tiling.tiles)]
    across = [(x0, x1) for x0, _, x1, _ in tiles[: tiling.columns]]
    down = [(y0, y1) for _, y0, _, y1 in tiles[:: tiling.columns]]
    assert tiles == [(x0, y0, x1, y1) for y0, y1 in down for x0, x1 in across]  # row-major
    for ranges, extent in ((across, width), (down, height)):
        cut = {boundary * extent // len(ranges) for boundary in range(1, len(ranges)) if boundary * extent % len(ranges)}
        assert counts(ranges, extent) == [2 if line in cut else 1 for line in range(extent)]


@given(widths, heights, st.sampled_from(GRIDS))
@example(4096, 2304, 14)
@example(1, 1, 14)
@example(2016, 1120, 14)
@example(13, 15, 14)
def test_cells_of_a_grid_cover_every_pixel_and_once_where_the_size_is_a_multiple(width: int, height: int, grid: int) -> None:
    tiling = plan(width, height)
    sides = (tiling.cell_columns(grid), tiling.columns * grid, width), (tiling.cell_rows(grid), tiling.rows * grid, height)
    for ranges, parts, extent in sides:
        assert len(ranges) == parts
        lines = counts(ranges, extent)
        assert min(lines) >= 1
        assert (max(lines) == 1) == (extent % parts == 0)


@given(widths, heights, st.sampled_from(GRIDS))
@example(3, 2, 14)
def test_cells_of_a_tile_cover_just_the_tile(width: int, height: int, grid: int) -> None:
    tiling = plan(width, height)
    for tile in {0, tiling.tiles // 2, tiling.tiles - 1}:
        row, column = divmod(tile, tiling.columns)
        rows, columns = tiling.cell_rows(grid)[row * grid :][:grid], tiling.cell_columns(grid)[column * grid :][:grid]
        assert (columns[0][0], rows[0][0], columns[-1][1], rows[-1][1]) == tiling.tile_pixels(tile)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3), st.integers(1, 3), st.sampled_from(GRIDS))
@settings(max_examples=30, deadline=None)
def test_union_of_all_cells_is_the_frame(width: int, height: int, columns: int, rows: int, grid: int) -> None:
    tiling = Tiling("tiled", width, height, columns, rows)
    pairs = [(ys, xs) for ys in tiling.cell_rows(grid) for xs in tiling.cell_columns(grid)]
    union = {(y, x) for (y0, y1), (x0, x1) in pairs for y in range(y0, y1) for x in range(x0, x1)}
    assert union == {(y, x) for y in range(height) for x in range(width)}


@given(widths, heights, st.sampled_from(GRIDS))
@example(1, 1, 14)
def test_cells_are_painted_where_the_tiling_has_them(width: int, height: int, grid: int) -> None:
    tiling, drawn = plan(width, height), PaintSettings()
    assert cell_ranges(tiling.rows * grid, height, drawn, grid, 14) == tiling.cell_rows(grid)
    assert cell_ranges(tiling.columns * grid, width, drawn, grid, 14) == tiling.cell_columns(grid)


@given(widths, st.sampled_from(GRIDS), st.sampled_from([0.25, 0.5, 0.8]), st.sampled_from([1.3, 2.0, 3.0]))
def test_scaled_cells_lie_in_each_other_and_in_the_frame(width: int, grid: int, small: float, large: float) -> None:
    shrunk, plain, grown = (cell_ranges(grid, width, PaintSettings(mask_cell_scale=scale), grid, 14) for scale in (small, 1.0, large))
    for inner, middle, outer in zip(shrunk, plain, grown, strict=True):
        assert 0 <= outer[0] <= middle[0] <= inner[0] < inner[1] <= middle[1] <= outer[1] <= width


@pytest.mark.parametrize(("width", "height"), [size for size in CORNERS if 1 / 40 < size[0] / size[1] < 40])
@pytest.mark.parametrize("mode", ["resize", "tiled"])
def test_each_output_of_prepare_has_the_whole_weight_of_pixels_of_the_frame(
    config: ModelConfig, preprocessor: PreprocessorConfig, mode: str, width: int, height: int
) -> None:
    feeds = arrays(prepare_feeds(plan_tiles(mode, width, height, config), config, preprocessor))
    for axis, extent in (("column", width), ("row", height)):
        index, weights = feeds[f"{axis}_index"], feeds[f"{axis}_weights"]
        blocks, window = index.shape
        assert index.min() >= 0 and index.max() < extent
        high, low = (weights * 256).astype(int).reshape(blocks, 2, 16, window).swapaxes(0, 1)  # low parts are kept over 2^8
        totals = (high + low).sum(-1).ravel()
        wanted = np.trim_zeros(totals, "b")  # the last block may be filled up
        assert len(totals) - len(wanted) < 16 and np.abs(wanted - 2**22).max() <= window
    if mode == "resize":
        assert np.abs(feeds["bicubic_rows"].sum(1) - 1).max() < 1e-6 and np.abs(feeds["bicubic_columns"].sum(0) - 1).max() < 1e-6


@pytest.mark.parametrize(("width", "height"), [(2304, 4), (4, 2304), (500, 2), (3, 2000)])
def test_an_extreme_aspect_ratio_asks_for_no_more_lines_than_bicubic_reads(
    config: ModelConfig, preprocessor: PreprocessorConfig, width: int, height: int
) -> None:
    feeds = arrays(prepare_feeds(plan_tiles("resize", width, height, config), config, preprocessor))
    for axis in ("column", "row"):
        assert feeds[f"{axis}_index"].shape[0] <= 4 * 224 / 16
