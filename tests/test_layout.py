"""Token ids and cells name each other, and cells have the pixels of the integer rule."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autogaze_web.layout import Layout, pixel_range

UPSTREAM = Layout((32, 64, 112, 224), 16)
GRIDS = (1, 2, 4, 7, 14)
TILES = (1, 2, 9, 18)  # of one axis, up to 3840 pixels wide

layouts = st.builds(
    lambda grids, patch: Layout(tuple(grid * patch for grid in sorted(grids)), patch),
    st.sets(st.integers(1, 20), min_size=1, max_size=5),
    st.integers(1, 32),
)


def test_upstreams_grids_and_ids() -> None:
    assert UPSTREAM.grids == (2, 4, 7, 14)
    assert UPSTREAM.offsets == (0, 4, 20, 69, 265)
    assert UPSTREAM.cells == UPSTREAM.end_token == 265


@pytest.mark.parametrize(
    ("token", "cell"),
    [
        (0, (0, 0, 0)),
        (1, (0, 0, 1)),
        (3, (0, 1, 1)),
        (4, (1, 0, 0)),
        (19, (1, 3, 3)),
        (20, (2, 0, 0)),
        (27, (2, 1, 0)),
        (68, (2, 6, 6)),
        (69, (3, 0, 0)),
        (264, (3, 13, 13)),
    ],
)
def test_first_and_last_cells_of_each_scale(token: int, cell: tuple[int, int, int]) -> None:
    assert UPSTREAM.locate(token) == cell


@pytest.mark.parametrize("token", [-1, 265, 266, 10_000])
def test_refuses_ids_that_are_no_cell(token: int) -> None:
    with pytest.raises(ValueError, match=f"token {token} is no cell.* 0 to 264"):
        UPSTREAM.locate(token)


@given(layouts)
def test_ids_count_the_cells_coarse_to_fine_and_row_major(layout: Layout) -> None:
    expected = [(scale, row, column) for scale, grid in enumerate(layout.grids) for row in range(grid) for column in range(grid)]
    assert [layout.locate(token) for token in range(layout.cells)] == expected


@given(layouts, st.data())
def test_a_cells_id_leads_back_to_the_cell(layout: Layout, data: st.DataObject) -> None:
    token = data.draw(st.integers(0, layout.cells - 1))
    scale, row, column = layout.locate(token)
    assert layout.offsets[scale] + row * layout.grids[scale] + column == token


@pytest.mark.parametrize("parts", sorted({grid * tiles for grid in GRIDS for tiles in TILES}))
def test_pixel_range_is_floor_and_ceil_at_every_width(parts: int) -> None:
    for extent in range(1, 4097):
        for index in {0, parts // 3, parts // 2, parts - 1}:
            first, end = pixel_range(index, parts, extent)
            assert first * parts <= index * extent < (first + 1) * parts
            assert (end - 1) * parts < (index + 1) * extent <= end * parts


@pytest.mark.parametrize("parts", GRIDS)
def test_neighbours_share_just_the_pixel_that_their_boundary_cuts(parts: int) -> None:
    for extent in range(1, 4097):
        ranges = [pixel_range(index, parts, extent) for index in range(parts)]
        assert ranges[0][0] == 0 and ranges[-1][1] == extent
        for boundary, ((_, end), (following, _)) in enumerate(pairwise(ranges), start=1):
            shared = boundary * extent % parts != 0  # the boundary lies within a pixel, and both sides have it
            assert end - following == shared


@given(st.integers(1, 300), st.integers(1, 4096), st.data())
@example(14, 1, None)
def test_pixel_range_is_the_rational_rule(parts: int, extent: int, data: st.DataObject | None) -> None:
    index = data.draw(st.integers(0, parts - 1)) if data else parts - 1
    part = Fraction(extent, parts)
    assert pixel_range(index, parts, extent) == (floor(index * part), ceil((index + 1) * part))


@given(st.integers(1, 300), st.integers(1, 20))
def test_parts_are_equal_and_disjoint_where_the_width_is_a_multiple(parts: int, size: int) -> None:
    assert [pixel_range(index, parts, parts * size) for index in range(parts)] == [
        (start, start + size) for start in range(0, parts * size, size)
    ]
