"""`paint`: one frame, the cells looked at and the kept canvas -> the mask panel, the output panel and their numbers (semantics §5).

Cells are rectangles of a grid, so lines of pixels that the same cells reach look alike. What to draw is found once for each pair of such
groups of rows and columns, as a product of three small matrices a scale, and then only looked up by the pixels. Everything that a frame
size and settings decide (autogaze_web/paint.py) is fed; every node here is a dispatch on a GPU. Numbers are integers below 2^24, or are
floored at least 1/512 away from an integer, so every device agrees to the bit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autogaze_export.graphs.fused import take


class Paint(nn.Module):
    """The mask panel in plain colours; the output panel is the canvas, updated."""

    def forward(
        self,
        frame: Tensor,  # uint8 [height, width, 4], opaque
        canvas: Tensor,  # int32 [height, width, 4]: what interframe keeps
        cells: Tensor,  # float32 [layers, cell_rows, cell_columns]: 1 for the cells drawn, the grid of each scale padded to the finest
        across: Tensor,  # float32 [layers, cell_columns, 2 · column_groups]: 1 where a cell has the columns; then, has them as its edge
        down: Tensor,  # float32 [layers, 2 · row_groups, 2 · cell_rows]: what to draw where a cell has the rows, see autogaze_web/paint.py
        most: Tensor,  # float32 [layers, 2, 1, 1]: the same for each layer: the codes of fill and border
        rows: Tensor,  # int32 [height]: the group of each row
        columns: Tensor,  # int32 [width]
        colours: Tensor,  # float32 [codes, 4]: of nothing, ground, then fill and border of each scale
        above: Tensor,  # int32 [1]: pixels of greater codes are updated: 0 those of cells, -1 all
        counted: Tensor,  # int32 [2, 1, 1]: 0, above
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> mask panel, output panel uint8 [height, width, 4]; canvas int32 [height, width, 4]; row_stats int32 [3, height]: per pixel
        row how many pixels the cells cover, how many were updated, and the squared error of the output against the frame.
        """
        lines, code = look_up(draw(cells, across, down, most), rows, columns)
        return (paint_plain(code, colours), *update(frame, canvas, lines, code, rows, above, counted))


class PaintImage(nn.Module):
    """The mask panel over the frame."""

    def forward(
        self,
        frame: Tensor,
        canvas: Tensor,
        cells: Tensor,
        across: Tensor,
        down: Tensor,
        most: Tensor,
        rows: Tensor,
        columns: Tensor,
        shown: Tensor,  # float32 [codes, 4]: how much of the frame the mask panel shows
        tint: Tensor,  # float32 [codes, 4]: and what is added to it
        above: Tensor,
        counted: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As Paint's."""
        lines, code = look_up(draw(cells, across, down, most), rows, columns)
        return (mix(frame.float(), code, shown, tint).to(torch.uint8), *update(frame, canvas, lines, code, rows, above, counted))


class PaintRows(nn.Module):
    """The mask panel as a band a scale, each a miniature of the frame."""

    def forward(
        self,
        frame: Tensor,
        canvas: Tensor,
        cells: Tensor,
        across: Tensor,
        down: Tensor,
        most: Tensor,
        rows: Tensor,
        columns: Tensor,
        panel_rows: Tensor,  # int32 [height]: as rows and columns, in the panel
        panel_columns: Tensor,
        colours: Tensor,
        above: Tensor,
        counted: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As Paint's."""
        drawn = draw(cells, across, down, most)
        lines, code = look_up(drawn, rows, columns)
        _, panel = look_up(drawn, panel_rows, panel_columns)
        return (paint_plain(panel, colours), *update(frame, canvas, lines, code, rows, above, counted))


class PaintBlend(nn.Module):
    """The mask panel in plain colours; the output panel is the frame with white over the cells."""

    def forward(
        self,
        frame: Tensor,
        cells: Tensor,
        across: Tensor,
        down: Tensor,
        most: Tensor,
        rows: Tensor,
        columns: Tensor,
        colours: Tensor,
        kept: Tensor,  # float32 [codes, 4]: how much of the frame the output panel shows
        white: Tensor,  # float32 [codes, 4]: and what is added to it
        counted: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-> mask panel, output panel, row_stats, as Paint's."""
        lines, code = look_up(draw(cells, across, down, most), rows, columns)
        return (paint_plain(code, colours), *lighten(frame, frame.float(), lines, code, rows, kept, white, counted))


class PaintImageBlend(nn.Module):
    """Both panels over the frame."""

    def forward(
        self,
        frame: Tensor,
        cells: Tensor,
        across: Tensor,
        down: Tensor,
        most: Tensor,
        rows: Tensor,
        columns: Tensor,
        shown: Tensor,
        tint: Tensor,
        kept: Tensor,
        white: Tensor,
        counted: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As PaintBlend's."""
        lines, code = look_up(draw(cells, across, down, most), rows, columns)
        picture = frame.float()
        return (mix(picture, code, shown, tint).to(torch.uint8), *lighten(frame, picture, lines, code, rows, kept, white, counted))


class PaintRowsBlend(nn.Module):
    """A band a scale, and the frame with white over the cells."""

    def forward(
        self,
        frame: Tensor,
        cells: Tensor,
        across: Tensor,
        down: Tensor,
        most: Tensor,
        rows: Tensor,
        columns: Tensor,
        panel_rows: Tensor,
        panel_columns: Tensor,
        colours: Tensor,
        kept: Tensor,
        white: Tensor,
        counted: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As PaintBlend's."""
        drawn = draw(cells, across, down, most)
        lines, code = look_up(drawn, rows, columns)
        _, panel = look_up(drawn, panel_rows, panel_columns)
        return (paint_plain(panel, colours), *lighten(frame, frame.float(), lines, code, rows, kept, white, counted))


def draw(cells: Tensor, across: Tensor, down: Tensor, most: Tensor) -> Tensor:
    """-> int32 [row_groups, column_groups]: what to draw there, an index into the colours.

    A product counts cells in steps of the code they would draw; at most that code stands for any number of them, and the greatest is
    drawn: the finer over the coarser, and within a scale a border over a fill, so that no order matters.
    """
    reach = (cells @ across).unflatten(2, (2, -1)).flatten(1, 2)  # [layers, 2 · cell_rows, column_groups]
    codes = torch.minimum((down @ reach).unflatten(1, (2, -1)), most)  # [layers, 2, row_groups, column_groups]
    return codes.flatten(0, 1).amax(0).int()


def look_up(drawn: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """-> the code of every pixel of a row of each group, int32 [row_groups, width], and of every pixel, int32 [height, width]."""
    lines = take(drawn, columns, 1)
    return lines, take(lines, rows, 0)


def paint_plain(code: Tensor, colours: Tensor) -> Tensor:
    """-> uint8 [height, width, 4]."""
    return take(colours, code, 0).to(torch.uint8)


def mix(picture: Tensor, code: Tensor, share: Tensor, more: Tensor) -> Tensor:
    """picture · share + more, by code: the blend rounded half up once it is floored, which the cast to integers does."""
    return picture * take(share, code, 0) + take(more, code, 0)


def update(
    frame: Tensor, canvas: Tensor, lines: Tensor, code: Tensor, rows: Tensor, above: Tensor, counted: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Interframe's output panel, canvas and row_stats."""
    picture = frame.int()
    kept = torch.where((code > above)[..., None], picture, canvas)
    return kept.to(torch.uint8), kept, row_stats(kept - picture, lines, rows, counted)


def lighten(
    frame: Tensor, picture: Tensor, lines: Tensor, code: Tensor, rows: Tensor, kept: Tensor, white: Tensor, counted: Tensor
) -> tuple[Tensor, Tensor]:
    """Full-blend's output panel and row_stats; picture is the frame as floats."""
    output = mix(picture, code, kept, white).int()
    return output.to(torch.uint8), row_stats(output - frame.int(), lines, rows, counted)


def row_stats(difference: Tensor, lines: Tensor, rows: Tensor, counted: Tensor) -> Tensor:
    """int32 [3, height], see Paint."""
    pixels = take((lines > counted).int().sum(2, dtype=torch.int32), rows, 1)  # [2, height]
    squares = (difference * difference).sum((1, 2), dtype=torch.int32)
    return torch.cat([pixels, squares[None]])
