"""`grow` and `shift`: the KV caches at a larger capacity, and without their oldest frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_export.graphs import fused


class Grow(nn.Module):
    """More slots behind those there are; the step graphs then run at the larger capacity."""

    def forward(
        self, key_valid: Tensor, hidden: Tensor, caches: list[Tensor], more_valid: Tensor, more_keys: Tensor, more_values: Tensor
    ) -> tuple[Tensor, ...]:
        """more_*: zeros of the new slots, float32 [batch, more] and [batch, heads, more, head_dim]."""
        keys = [torch.cat([cache, more_keys], dim=2) for cache in caches[0::2]]
        values = [torch.cat([cache, more_values], dim=2) for cache in caches[1::2]]
        flags = [torch.cat([old, more_valid], dim=1) for old in (key_valid, hidden)]
        return *flags, *(cache for pair in zip(keys, values, strict=True) for cache in pair)


class Shift(nn.Module):
    """Drop the oldest slots, and let positions begin again at the oldest that is left.

    Rotary attention depends on differences of positions only; turning the keys back by the dropped count keeps positions small however
    long the video is, where float32 angles are exact enough.
    """

    def forward(
        self,
        key_valid: Tensor,  # float32 [batch, capacity]
        angle: Tensor,  # float32 [batch, slots], as in the step graphs
        slots: Tensor,  # int32 [batch, slots], as in the step graphs
        dropped: Tensor,  # int32 [1]: how many slots go
        cos: Tensor,  # float32 [positions, head_dim]: row n is the angle of position n - 1; its halves are equal
        sin: Tensor,
        slot_index: Tensor,  # int32 [capacity]: 0, 1, 2 …
        caches: list[Tensor],
    ) -> tuple[Tensor, ...]:
        tokens = torch.where(slot_index < dropped, key_valid, 0.0).sum(1, keepdim=True)  # [batch, 1]: the positions that go
        index = slot_index.float()
        source = torch.minimum(index + dropped.float(), index.amax(0)).int()  # nothing is left to come to the last slots: nothing sees them
        valid = fused.take(key_valid, source, axis=1)
        half = cos.shape[1] // 2
        c, s = (F.embedding(tokens.int() + 1, table)[:, :, None, :half] for table in (cos, sin))  # [batch, 1, 1, head_dim / 2]
        keys = [turned_back(fused.take(cache, source, axis=2), c, s) for cache in caches[0::2]]
        values = [fused.take(cache, source, axis=2) for cache in caches[1::2]]
        return angle - tokens, slots - dropped, valid, *(cache for pair in zip(keys, values, strict=True) for cache in pair)


def turned_back(keys: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Keys [batch, heads, capacity, head_dim], whose neighbouring channels rotate together, by an angle backwards."""
    first, second = keys.unflatten(3, (-1, 2)).split(1, dim=4)  # each [batch, heads, capacity, head_dim / 2, 1]
    cos, sin = cos[..., None], sin[..., None]
    return torch.cat([first * cos + second * sin, second * cos - first * sin], dim=4).flatten(3)
