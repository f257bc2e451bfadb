"""`rgb`: the planes of a decoded frame -> RGB. One exact conversion for the page and the command line (autogaze_web/colour.py).

Coefficients are integers over 2^13, samples integers up to 255, and every partial sum is below 2^24 over 2^13, so float32 is exact
whatever the order of the additions, fused or not.
"""

from __future__ import annotations

from torch import Tensor, nn, uint8

from autogaze_export.graphs.fused import take, take_columns


class Rgb(nn.Module):
    """Upright pictures, or mirrored ones. `turned` swaps rows and columns at the end."""

    def __init__(self, turned: bool = False) -> None:
        super().__init__()
        self.order = (2, 1, 0) if turned else (1, 2, 0)  # of [4, rows, columns]

    def forward(
        self,
        luma: Tensor,  # uint8 [luma_height, luma_stride]
        blue: Tensor,  # uint8 [blue_height, blue_stride]; the same plane as red, or as both, where samples are interleaved
        red: Tensor,  # uint8 [red_height, red_stride]
        luma_rows: Tensor,  # int32 [rows]: the line of luma that each row reads
        luma_columns: Tensor,  # int32 [columns]: and the sample in it
        chroma_rows: Tensor,  # int32 [rows]
        blue_columns: Tensor,  # int32 [columns]
        red_columns: Tensor,  # int32 [columns]
        luma_gain: Tensor,  # float32 [4, 1, 1]: what one level of luma adds to red, green, blue and alpha
        blue_gain: Tensor,
        red_gain: Tensor,
        start: Tensor,  # float32 [4, 1, 1]: what they begin with, one half for rounding included
    ) -> Tensor:
        """-> frame uint8 [rows, columns, 4], or [columns, rows, 4] where turned."""
        light = take_columns(take(luma.float(), luma_rows, 0), luma_columns)
        chroma = take_columns(blue.float(), blue_columns) * blue_gain + take_columns(red.float(), red_columns) * red_gain
        tint = take(chroma + start, chroma_rows, 1)  # rows come last, because chroma has fewer of them
        colours = light * luma_gain + tint  # [4, rows, columns]
        return colours.clamp(0, 255).permute(self.order).to(uint8)  # of what is not negative, the cast is the floor
