"""Tokens, scales and cells: which id means which cell of which grid (SEMANTICS §1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True)
class Layout:
    """The vocabulary of one frame: every cell of every scale, coarse to fine, row-major in each grid."""

    scales: tuple[int, ...]  # square sizes in pixels of the model's input, coarse to fine, such as (32, 64, 112, 224)
    patch: int  # side of a patch in pixels; a scale's grid is scale // patch cells wide

    @cached_property
    def grids(self) -> tuple[int, ...]:
        """Cells along one side of each scale's grid, such as (2, 4, 7, 14)."""
        return tuple(scale // self.patch for scale in self.scales)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First id of each scale, and the number of cells last: (0, 4, 20, 69, 265)."""
        return (0, *accumulate(grid * grid for grid in self.grids))

    @property
    def cells(self) -> int:
        """Cells, so tokens, of one frame (265)."""
        return self.offsets[-1]

    @property
    def end_token(self) -> int:
        """The id that stands for the end and for padding: one past the last cell."""
        return self.cells

    def locate(self, token: int) -> tuple[int, int, int]:
        """The cell of a token id of one frame, as (scale index, row, column); ValueError for an id that is no cell."""
        if not 0 <= token < self.cells:
            raise ValueError(f"token {token} is no cell: ids of cells are 0 to {self.cells - 1}")
        scale = next(i for i in range(len(self.grids)) if token < self.offsets[i + 1])
        row, column = divmod(token - self.offsets[scale], self.grids[scale])
        return scale, row, column


def pixel_range(index: int, parts: int, extent: int) -> tuple[int, int]:
    """Pixels [first, end) of part `index` of `parts` over `extent` pixels: floor(i·n/g) to ceil((i+1)·n/g), exact integers.

    Neighbours share a pixel line where extent is no multiple of parts.
    """
    return index * extent // parts, -((index + 1) * extent // -parts)
