"""`paint`: one frame, the cells looked at and the kept canvas -> the mask panel, the output panel and their numbers (semantics §5).

Cells are rectangles of a grid, so the set of pixels they cover is a product of three small matrices: which pixel rows each row of cells
has, which cells are on, which pixel columns each column of cells has. All numbers are integers below 2^24, so every device agrees to
the bit; blends round half up in integers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_web.config import ModelConfig


class Paint(nn.Module):
    """Draws cells where they are; `deduplicated` leaves out those that coarser ones cover."""

    def __init__(self, config: ModelConfig, deduplicated: bool) -> None:
        super().__init__()
        self.layout, self.deduplicated = config.layout, deduplicated

    def forward(
        self,
        frame: Tensor,  # uint8 [height, width, channels], channels 3 (RGB) or 4 (RGBA, alpha ignored)
        canvas: Tensor,  # uint8 [height, width, 4]: what interframe keeps
        emitted: Tensor,  # float32 [tile_rows, tile_columns, cells]: 1 for the cells looked at
        ys: Tensor,  # float32 [height]: 0, 1, 2 …
        xs: Tensor,  # float32 [width]
        rows: list[Tensor],  # a scale: float32 [tile_rows · grid, 2], the pixel rows [first, end) of each row of cells
        columns: list[Tensor],  # a scale: float32 [tile_columns · grid, 2]
        palette: Tensor,  # float32 [2 + 2 · scales, 3]: nothing, ground, then fill and border of each scale
        keyframe: Tensor,  # float32 [1]: 1 copies the whole frame, 0 what the cells cover
        white: Tensor,  # float32 [1]: 0…255, how much white the output panel lays over the cells
        opacity: Tensor,  # float32 [1]: 0…255, how much of the cells' colour the mask panel shows
        ground: Tensor,  # float32 [1]: 1 shows the frame behind the cells, 0 black
        outside: Tensor,  # float32 [1]: 1 or 0, whether the mask panel is opaque where there is no cell
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> mask panel, output panel, canvas: uint8 [height, width, 4]; row_stats int32 [3, height]: per pixel row how many pixels
        the cells cover, how many were updated, and the squared error of the output against the frame over red, green and blue.
        """
        picture = frame.float()[..., :3]
        union, code, _ = cover(self.cells(emitted), ys, xs, rows, columns, self.deduplicated)
        mask_panel = compose(picture * ground, palette, code, opacity, outside)
        return (mask_panel, *expose(picture, canvas, union, keyframe, white))

    def cells(self, emitted: Tensor) -> list[Tensor]:
        """[tile_rows, tile_columns, cells] -> for each scale the grid of the whole frame, [tile_rows · g, tile_columns · g]."""
        layout = self.layout
        return [
            emitted[:, :, first:end].unflatten(2, (grid, grid)).transpose(1, 2).flatten(2, 3).flatten(0, 1)
            for grid, first, end in zip(layout.grids, layout.offsets, layout.offsets[1:], strict=False)
        ]


class PaintRows(Paint):
    """The mask panel as a band a scale, each a miniature of the frame; the output panel as ever."""

    def forward(  # type: ignore[override]
        self,
        frame: Tensor,
        canvas: Tensor,
        emitted: Tensor,
        ys: Tensor,
        xs: Tensor,
        rows: list[Tensor],
        columns: list[Tensor],
        panel_rows: list[Tensor],  # as rows and columns, where the miniatures are
        panel_columns: list[Tensor],
        strip: Tensor,  # float32 [1, 2]: the pixel columns of the miniatures
        palette: Tensor,
        keyframe: Tensor,
        white: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As Paint's."""
        picture, cells = frame.float()[..., :3], self.cells(emitted)
        union, _, kept = cover(cells, ys, xs, rows, columns, self.deduplicated)
        _, code, _ = cover(kept, ys, xs, panel_rows, panel_columns, False)  # bands do not overlap: what is covered, the frame says
        code = torch.maximum(code, inside(xs, strip).T)  # ground where a miniature has no cell
        return (
            compose(picture * 0, palette, code, torch.full_like(keyframe, 255), torch.ones_like(keyframe)),
            *expose(picture, canvas, union, keyframe, white),
        )


def cover(
    cells: list[Tensor], ys: Tensor, xs: Tensor, rows: list[Tensor], columns: list[Tensor], deduplicated: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Which pixels the cells cover, float32 [height, width] of 0 or 1; what to draw there, an index into the palette; the cells drawn.

    Coarse to fine, the finer over the coarser; within a scale a border over a fill, so that no order matters.
    """
    union = (ys[:, None] * xs) * 0
    code, kept = union, []
    for scale, (on, row_ranges, column_ranges) in enumerate(zip(cells, rows, columns, strict=True)):
        down, across = inside(ys, row_ranges), inside(xs, column_ranges).T
        if deduplicated and scale:
            covered = down.T @ (union @ across.T)  # pixels of each cell that are taken already
            area = down.sum(0)[:, None] * across.sum(1)
            on = on * (area - covered).clamp(0, 1)
        count = down @ on @ across  # cells of this scale that cover the pixel
        interior = inside(ys, row_ranges, border=1) @ on @ inside(xs, column_ranges, border=1).T
        fill, border = count.clamp(0, 1), (count - interior).clamp(0, 1)
        union = torch.maximum(union, fill)
        code = torch.maximum(code, fill * (2 + 2 * scale) + border)
        kept.append(on)
    return union, code, kept


def inside(lines: Tensor, ranges: Tensor, border: int = 0) -> Tensor:
    """lines [n], ranges [m, 2] -> float32 [n, m]: 1 where the line is in the range, less `border` lines at both ends."""
    first, end = ranges[:, 0] + border, ranges[:, 1] - border
    return (lines[:, None] - first + 1).clamp(0, 1) * (end - lines[:, None]).clamp(0, 1)


def blend(under: Tensor, over: Tensor | float, opacity: Tensor) -> Tensor:
    """(under · (255 − opacity) + over · opacity) / 255, rounded half up; all integers 0…255, so exact on every device."""
    return torch.floor((under * (255 - opacity) + over * opacity + 127.5) / 255)


def compose(ground: Tensor, palette: Tensor, code: Tensor, opacity: Tensor, outside: Tensor) -> Tensor:
    """The mask panel, uint8 [height, width, 4]: palette colours laid over ground [height, width, 3] where code is not 0."""
    drawn = code.clamp(0, 1)[..., None]
    shown = torch.maximum(drawn, outside)
    colours = F.embedding(code.int(), palette)
    return rgba(blend(ground, colours, drawn * opacity) * shown, shown * 255)


def expose(picture: Tensor, canvas: Tensor, union: Tensor, keyframe: Tensor, white: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output panel, canvas and row_stats, from the frame [height, width, 3] and what the cells cover [height, width]."""
    updated = torch.maximum(union, keyframe)
    before = canvas.float()[..., :3]
    kept = before + (picture - before) * updated[..., None]
    output = blend(kept, 255.0, union[..., None] * white)
    difference = (output - picture).int()
    squares = (difference * difference).sum((1, 2), dtype=torch.int32)
    row_stats = torch.stack([union.sum(1).int(), updated.sum(1).int(), squares])
    opaque = torch.full_like(kept[..., :1], 255)
    return rgba(output, opaque), rgba(kept, opaque), row_stats


def rgba(colours: Tensor, alpha: Tensor) -> Tensor:
    """float [height, width, 3] and [height, width, 1], 0…255 -> uint8 [height, width, 4]."""
    return torch.cat([colours, alpha], dim=-1).to(torch.uint8)
