"""`grow` and `shift`: the KV caches at a larger capacity, and without their oldest frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_export.graphs import fused
from autogaze_export.model import rotate


class Grow(nn.Module):
    """More slots behind those there are; the step graphs then run at the larger capacity."""

    def forward(
        self, key_valid: Tensor, caches: list[Tensor], more_valid: Tensor, more_keys: Tensor, more_values: Tensor
    ) -> tuple[Tensor, ...]:
        """more_*: zeros of the new slots, float32 [batch, more], [batch, heads, head_dim, more] and [batch, heads, more, head_dim]."""
        keys = [torch.cat([cache, more_keys], dim=3) for cache in caches[0::2]]
        values = [torch.cat([cache, more_values], dim=2) for cache in caches[1::2]]
        return torch.cat([key_valid, more_valid], dim=1), *(cache for pair in zip(keys, values, strict=True) for cache in pair)


class Shift(nn.Module):
    """Drop the oldest slots, and let positions begin again at the oldest that is left.

    Rotary attention depends on differences of positions only; turning the keys back by the dropped count keeps positions small however
    long the video is, where float32 angles are exact enough.
    """

    def forward(
        self,
        key_valid: Tensor,  # float32 [batch, capacity]
        count: Tensor,  # int32 [batch, 1]
        slot: Tensor,  # int32 [1]: the next free slot
        dropped: Tensor,  # int32 [1]: how many slots go
        cos: Tensor,  # float32 [positions, head_dim / 2]: row n is the angle of position n - 1
        sin: Tensor,
        slot_index: Tensor,  # float32 [capacity]: 0, 1, 2 …
        caches: list[Tensor],
    ) -> tuple[Tensor, ...]:
        gone = (dropped.float() - slot_index).clamp(0, 1)  # [capacity]
        tokens = (key_valid * gone).sum(1, keepdim=True)  # [batch, 1]: the positions that go
        source = torch.minimum(slot_index + dropped.float(), slot_index.amax(0)).int()
        left = (slot.float() - dropped.float() - slot_index).clamp(0, 1)
        valid = fused.take(key_valid, source, axis=1) * left
        angle = tokens.int() + 1
        # Turning by -angle swaps the sign of the sine. Keys lie [batch, heads, head_dim, capacity].
        turn = [F.embedding(angle, table)[:, :, None] for table in (cos, -sin)]  # [batch, 1, 1, head_dim / 2]
        keys = [rotate(fused.take(cache, source, axis=3).transpose(2, 3), turn[0], turn[1]).transpose(2, 3) for cache in caches[0::2]]
        values = [fused.take(cache, source, axis=2) for cache in caches[1::2]]
        slot, count = slot - dropped, count - tokens.int()
        return count, slot, valid, *(cache for pair in zip(keys, values, strict=True) for cache in pair)
