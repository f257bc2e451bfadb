"""`prepare`: one 8-bit frame of any size -> the model's normalised input tiles.

The resize is Pillow's, bit for bit: separable, each pass accumulated in 22-bit fixed point and rounded to 8 bits. The control plane
computes the taps (autogaze_web/resample.py); here they are applied block by block, so that the cost follows the size of the
picture and not its square, and so that no device needs an antialiased Resize.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_web.config import ModelConfig
from autogaze_web.resample import LOW_BITS, PRECISION_BITS


class Prepare(nn.Module):
    """Frame -> one tile: Pillow-bilinear to the shortest edge, then bicubic to the model's square (semantics §2)."""

    level_offsets: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.tile = config.input_size
        self.register_buffer("level_offsets", torch.arange(0, 3 * 256, 256, dtype=torch.int32), persistent=False)

    def forward(
        self,
        frame: Tensor,  # uint8 [height, width, channels], channels 3 (RGB) or 4 (RGBA, alpha ignored)
        column_index: Tensor,  # int32 [column_blocks, column_window]: the source columns that a block of output columns reads
        column_weights: Tensor,  # float32 [column_blocks, 2 · patch, column_window]: high parts of its taps, then low parts over 2^8
        row_index: Tensor,  # the same for rows
        row_weights: Tensor,
        levels: Tensor,  # float32 [3 · 256]: the normalised value of every 8-bit level of red, green, blue
        bicubic_rows: Tensor,  # float32 [tile, 8-bit rows]
        bicubic_columns: Tensor,  # float32 [8-bit columns, tile]
    ) -> Tensor:
        """-> tiles float32 [1, 3, tile, tile]."""
        picture = self.normalise(resize(frame, column_index, column_weights, row_index, row_weights), levels)
        rows = bicubic_rows @ picture.flatten(1)  # [tile, columns · 3]
        channels: Tensor = rows.unflatten(1, picture.shape[1:]).permute(2, 0, 1)  # [3, tile, columns]
        return channels[None] @ bicubic_columns  # last, so that no Reshape gives the output (web/worker/recordings.js)

    def normalise(self, picture: Tensor, levels: Tensor) -> Tensor:
        """8-bit values as floats [h, w, 3], not yet floored -> normalised. By table, because division is not exact on every GPU."""
        return F.embedding(picture.int() + self.level_offsets, levels[:, None])[..., 0]


class PrepareTiled(Prepare):
    """Frame -> a grid of tiles: Pillow-bilinear to a whole number of tiles each way, then cut."""

    def forward(  # type: ignore[override]
        self,
        frame: Tensor,
        column_index: Tensor,  # [tile_columns · tile / patch, column_window]
        column_weights: Tensor,
        row_index: Tensor,
        row_weights: Tensor,
        levels: Tensor,
    ) -> Tensor:
        """-> tiles float32 [tile_rows · tile_columns, 3, tile, tile], row-major."""
        picture = self.normalise(resize(frame, column_index, column_weights, row_index, row_weights), levels)
        grid: Tensor = picture.unflatten(0, (-1, self.tile)).unflatten(2, (-1, self.tile))  # [rows, tile, columns, tile, 3]
        return grid.permute(0, 2, 4, 1, 3).flatten(0, 1)


def resize(frame: Tensor, column_index: Tensor, column_weights: Tensor, row_index: Tensor, row_weights: Tensor) -> Tensor:
    """frame uint8 [H, W, C] -> 8-bit values once they are floored, [h, w, 3]; columns first, then rows, as Pillow does."""
    columns = frame.float()[..., :3].transpose(0, 1)  # [W, H, 3]
    narrow = torch.floor(resample(columns, column_index, column_weights))  # [w, H, 3]
    return resample(narrow.transpose(0, 1), row_index, row_weights)  # [h, w, 3]


def resample(lines: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """One pass over the first axis of lines [n, m, 3] -> [blocks · patch, m, 3]; the floor of each value has 8 bits.

    A tap's 22-bit weight is kept as high · 2^8 + low, and low over 2^8. Both products sum to integers below 2^24, or those over 2^8, so
    float32 is exact whatever the order of the additions, and ((high · 2^8 + low) + 2^21) >> 22 is two floors of exact quotients. TF32
    must be off.
    """
    patch = weights.shape[1] // 2
    windows = F.embedding(index, lines.flatten(1))  # [blocks, window, m · 3]
    high, low = (weights @ windows).split(patch, dim=1)  # each [blocks, patch, m · 3]
    half = 2.0 ** (PRECISION_BITS - LOW_BITS - 1)
    levels: Tensor = (high + torch.floor(low) + half) * 2.0 ** (LOW_BITS - PRECISION_BITS)
    resized: Tensor = levels.flatten(0, 1).unflatten(1, lines.shape[1:])
    return resized
