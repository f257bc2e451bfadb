"""Operators that ONNX Runtime has whole and PyTorch does not: each runs as PyTorch here and is exported as one node.

Written out by hand because ONNX Runtime does not fuse them for WebGPU, where every node is a dispatch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_export.model import RMSNorm


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x)."""
    if torch.onnx.is_in_onnx_export():
        return node("com.microsoft::QuickGelu", x, x, alpha=1.0)
    return F.silu(x)


def rms_norm(x: Tensor, norm: RMSNorm) -> Tensor:
    """x / rms(x) · weight over the last axis."""
    if torch.onnx.is_in_onnx_export():
        return node("SimplifiedLayerNormalization", x, x, norm.weight, axis=-1, epsilon=norm.eps, stash_type=1)
    return norm(x)  # type: ignore[no-any-return]


def skip_rms_norm(x: Tensor, branch: Tensor, norm: RMSNorm) -> tuple[Tensor, Tensor]:
    """The residual sum x + branch, and its rms_norm."""
    if torch.onnx.is_in_onnx_export():
        row = (*x.shape[:-1], 1)  # of mean and inverse deviation, unused; ONNX Runtime Web refuses a wrong rank even so
        normed, _, _, total = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::SkipSimplifiedLayerNormalization",
            (x, branch, norm.weight),
            {"epsilon": norm.eps},
            dtypes=(x.dtype,) * 4,
            shapes=(x.shape, row, row, x.shape),
            version=1,
        )
        return total, normed
    x = x + branch
    return x, norm(x)


def write_slots(cache: Tensor, new: Tensor, index: Tensor, axis: int) -> Tensor:
    """Replace entries of an axis of cache by new, at index (int32, of new's shape); in place, where the runtime gives both one buffer."""
    if torch.onnx.is_in_onnx_export():
        return node("ScatterElements", cache, cache, index, new, axis=axis)
    return cache.scatter_(axis, index.long(), new)


def turn_pairs(x: Tensor, positions: Tensor, cos: Tensor, sin: Tensor, width: int) -> Tensor:
    """Rotary embedding of the first `width` channels of x [B, heads, S, channels], each with its neighbour.

    positions int64 [B, S], rows of cos and sin [·, width / 2].
    """
    if torch.onnx.is_in_onnx_export():
        options = {"interleaved": 1, "num_heads": x.shape[1], "rotary_embedding_dim": width}
        return node("com.microsoft::RotaryEmbedding", x, x, positions, cos, sin, **options)
    first, second = x[..., :width:2], x[..., 1:width:2]
    c, s = cos[positions][:, None], sin[positions][:, None]  # [B, 1, S, width / 2]
    turned = torch.stack([first * c - second * s, second * c + first * s], dim=-1).flatten(-2)
    return torch.cat([turned, x[..., width:]], dim=-1)


def gemm(a: Tensor, b: Tensor, c: Tensor, alpha: float = 1.0) -> Tensor:
    """alpha · a · b + c, of matrices [m, k] and [k, n]; c broadcasts."""
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic("Gemm", (a, b, c), {"alpha": alpha}, dtype=a.dtype, shape=(a.shape[0], b.shape[1]))
    return alpha * (a @ b) + c


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """softmax(query · keys + bias) · values.

    query [B, heads, S, head_dim], scaled; keys and values [B, heads, L, head_dim]; bias [B, 1, S, L] -> [B, S, heads · head_dim].
    """
    if torch.onnx.is_in_onnx_export():
        rows = side_by_side(query)
        inputs = (rows, keys, values, None, None, bias)
        operator = "com.microsoft::MultiHeadAttention"
        attributes: dict[str, Any] = {"num_heads": keys.shape[1], "scale": 1.0}
        return torch.onnx.ops.symbolic(operator, inputs, attributes, dtype=rows.dtype, shape=rows.shape, version=1)
    return side_by_side((query @ keys.transpose(2, 3) + bias).softmax(-1) @ values)


def side_by_side(x: Tensor) -> Tensor:
    """Heads [B, heads, S, head_dim] -> [B, S, heads · head_dim]."""
    return x.transpose(1, 2).flatten(2)


def take(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """The entries `index` (int32, any shape) of an axis of x; the exporter's own index_select would take its index through int64."""
    if torch.onnx.is_in_onnx_export():
        shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
        return torch.onnx.ops.symbolic("Gather", (x, index), {"axis": axis}, dtype=x.dtype, shape=shape)
    return x.index_select(axis, index.flatten()).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def take_columns(plane: Tensor, columns: Tensor) -> Tensor:
    """plane [m, n], columns int32 [k] -> [m, k]; by element, because ONNX Runtime's Gather takes six times as long over single numbers."""
    if torch.onnx.is_in_onnx_export():
        index = columns.expand(plane.shape[0], -1)
        return torch.onnx.ops.symbolic("GatherElements", (plane, index), {"axis": 1}, dtype=plane.dtype, shape=index.shape)
    return plane.index_select(1, columns)


def node(operator: str, like: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor:
    """One ONNX node whose result has the dtype and shape of `like`."""
    version = 1 if "::" in operator else None
    return torch.onnx.ops.symbolic(operator, inputs, attributes, dtype=like.dtype, shape=like.shape, version=version)
