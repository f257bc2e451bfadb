"""`encode`: tiles of one frame -> vision tokens, with the convolution's memory of the frames before."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_export.graphs import fused
from autogaze_export.model import AutoGaze, ConvBlock


class Encode(nn.Module):
    """The vision model for one frame at a time; equals the reference's 3-D convolution over whole clips."""

    def __init__(self, network: AutoGaze) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor, tile_index: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """tiles float32 [tiles, 3, tile, tile]; tile_index int32 [batch], those to encode; past float32 [batch, C, 2, h, w], the
        block's inputs of the two frames before (zeros at the start of a window) -> vision [batch, h·w, hidden], next past.
        """
        vision = self.network.gazing_model.vision_model
        block = cast(ConvBlock, vision.blocks[0]).conv3d
        patches = vision.temporal_conv
        x = F.conv2d(
            fused.take(tiles, tile_index, axis=0), patches.weight.squeeze(2), patches.bias, stride=patches.stride[1:]
        )  # [batch, C, h, w]
        x = vision.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # over channels
        x = torch.cat([past, x[:, :, None]], dim=2)  # [batch, C, 3, h, w]
        past = x[:, :, 1:]
        # A 3-D convolution whose output is one frame deep is a 2-D one over channels × frames; its weight only needs another shape.
        x = F.relu(F.conv2d(x.flatten(1, 2), block.weight.flatten(1, 2), block.bias, padding=cast(tuple[int, ...], block.padding)[1:]))
        x = x.flatten(2).transpose(1, 2)  # [batch, h·w, C]
        features = F.linear(x, vision.out_proj.weight.flatten(1), vision.out_proj.bias)
        return features + self.network.gazing_model.connector.pos_embed, past
