"""`encode`: tiles of one frame -> vision tokens, with the convolution's memory of the frames before.

Both convolutions are products of matrices: ONNX Runtime's Conv takes two to four times as long on WebGPU. Everything lies
position by position, channels last, as norms and products want it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_export.graphs import fused
from autogaze_export.model import AutoGaze, ConvBlock


class Encode(nn.Module):
    """The vision model for one frame at a time; equals the reference's 3-D convolution over whole clips."""

    neighbours: Tensor  # int32 [k, h·w · k]: the positions under each row of a position's k x k taps; h·w is the zeros around the picture

    def __init__(self, network: AutoGaze) -> None:
        super().__init__()
        self.network = network
        side, kernel = network.config.input_size // network.config.patch, network.config.trunk_spatial_kernel
        places = torch.arange(side * side, dtype=torch.float32).view(1, 1, side, side)
        taps = F.unfold(F.pad(places, (kernel // 2,) * 4, value=side * side), kernel)  # [1, k², h·w]
        self.register_buffer("neighbours", taps.view(kernel, kernel, -1).transpose(1, 2).flatten(1).int(), persistent=False)

    def forward(self, tiles: Tensor, tile_index: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """tiles float32 [tiles, 3, tile, tile]; tile_index int32 [batch], those to encode; past float32 [batch, h·w + 1, frames·C], the
        block's inputs of the frames before, oldest first (zeros at the start of a window), and a position of zeros -> vision [batch, h·w,
        hidden], next past.
        """
        vision = self.network.gazing_model.vision_model
        block = cast(ConvBlock, vision.blocks[0]).conv3d
        stem = vision.temporal_conv
        patch, channels = stem.stride[1], stem.out_channels
        x = fused.take(tiles, tile_index, axis=0).unflatten(2, (-1, patch)).unflatten(4, (-1, patch))  # [batch, 3, h, patch, w, patch]
        x = F.linear(x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2), stem.weight.flatten(1), stem.bias)  # [batch, h·w, C]
        x = torch.cat([past, F.pad(vision.norm(x), (0, 0, 0, 1))], dim=2)  # [batch, h·w + 1, (frames + 1)·C]
        past = x[:, :, channels:]
        # A 3-D convolution whose output is one frame deep is a product with what lies under its taps, place by place, frame by frame; row
        # by row of the taps, because of one tensor of 183 MB for 45 tiles ONNX Runtime keeps no memory for the next run.
        total = cast(Tensor, block.bias)
        for row in range(block.kernel_size[1]):
            under = fused.take(x, self.neighbours[row], axis=1).view(-1, block.in_channels * block.kernel_size[0] * block.kernel_size[2])
            total = fused.gemm(under, block.weight[:, :, :, row].permute(3, 2, 1, 0).flatten(0, 2), total)  # [batch · h·w, C]
        x = F.relu(total).unflatten(0, (-1, past.shape[1] - 1))  # [batch, h·w, C]
        features = F.linear(x, vision.out_proj.weight.flatten(1), vision.out_proj.bias)
        return features + self.network.gazing_model.connector.pos_embed, past
