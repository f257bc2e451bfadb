"""Taps of the resizes: Pillow's 8-bit bilinear, exact to the bit, and PyTorch's bicubic (SEMANTICS §2).

`prepare` applies them block by block: a block of `patch` neighbouring outputs reads one window of inputs, so that a pass is a Gather
and one small matrix product a block.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor

from autogaze_web.config import PreprocessorConfig
from autogaze_web.runtime import HostTensor

PRECISION_BITS = 22  # Pillow's fixed point for 8-bit images: 32 - 8 - 2
LOW_BITS = 8  # a weight is high · 2^8 + low; both halves times 255, summed over up to 256 taps, stay below 2^24

Taps = tuple[int, list[int]]  # first source pixel, and the 22-bit weight of it and its successors


def pillow_bilinear(source: int, target: int, positions: Iterable[int] | None = None) -> list[Taps]:
    """The taps of `target` outputs over `source` pixels, or of some of them: a triangle, widened when shrinking (antialias).

    As Pillow's precompute_coeffs and normalize_coeffs_8bpc: the same order of operations in double precision.
    """
    scale = source / target
    support = max(scale, 1.0)  # half-width of the triangle, in source pixels
    taps: list[Taps] = []
    for position in range(target) if positions is None else positions:
        center = (position + 0.5) * scale
        first = max(int(center - support + 0.5), 0)
        last = min(int(center + support + 0.5), source)
        weights = [max(1.0 - abs((x - center + 0.5) * (1.0 / support)), 0.0) for x in range(first, last)]
        total = sum(weights)
        taps.append((first, [int(0.5 + weight / total * (1 << PRECISION_BITS)) for weight in weights]))
    return taps


@dataclass(frozen=True)
class ResizePass:
    """One pass, as the graph takes it: which lines each block reads, and their weights."""

    index: HostTensor  # int32 [blocks, window]
    weights: HostTensor  # float32 [blocks, 2 · patch, window]: high parts of the block's outputs, then low parts over 2^LOW_BITS


def resize_pass(taps: Sequence[Taps], patch: int) -> ResizePass:
    """Arrange taps in blocks of `patch` outputs; the last block is filled up with outputs of weight 0."""
    groups = [taps[start : start + patch] for start in range(0, len(taps), patch)]
    firsts = [min(first for first, _ in group) for group in groups]
    window = max(first + len(weights) - low for group, low in zip(groups, firsts, strict=True) for first, weights in group)
    index, table = array("i"), array("f", bytes(4 * len(groups) * 2 * patch * window))
    last = max(first + len(weights) for first, weights in taps) - 1
    for block, (group, low) in enumerate(zip(groups, firsts, strict=True)):
        index.extend(min(line, last) for line in range(low, low + window))
        for row, (first, weights) in enumerate(group):
            high_at = (block * 2 * patch + row) * window + first - low
            low_at = high_at + patch * window
            for offset, weight in enumerate(weights):
                table[high_at + offset] = weight >> LOW_BITS
                table[low_at + offset] = (weight & ((1 << LOW_BITS) - 1)) / (1 << LOW_BITS)
    shape = (len(groups), 2 * patch, window)
    return ResizePass(HostTensor(index, "int32", (len(groups), window)), HostTensor(table, "float32", shape))


def torch_bicubic(source: int, target: int) -> list[tuple[list[int], list[float]]]:
    """The four source pixels and weights of each output: PyTorch's bicubic, a = -0.75, align_corners=False, no antialias.

    The source coordinate is rounded to float32 as PyTorch rounds it.
    """
    scale = float32(source / target)
    taps = []
    for position in range(target):
        x = float32(scale * (position + 0.5) - 0.5)  # rounded once: PyTorch's kernels are compiled to a fused multiply-add
        base = floor(x)
        pixels = [min(max(base + offset, 0), source - 1) for offset in (-1, 0, 1, 2)]
        taps.append((pixels, cubic_weights(float32(x - base))))
    return taps


def cubic_weights(t: float) -> list[float]:
    """Keys' cubic convolution with a = -0.75 at distances 1 + t, t, 1 - t and 2 - t."""
    a = -0.75

    def near(d: float) -> float:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: float) -> float:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def level_table(preprocessor: PreprocessorConfig) -> HostTensor:
    """The normalised value of each 8-bit level of each channel: float32 [3 · 256].

    (level · rescale_factor − 1 − mean) / std; the product in double precision and every later step in float32, as transformers'
    image processor computes it.
    """
    table = array("f")
    for mean, std in zip(preprocessor.mean, preprocessor.std, strict=True):
        for level in range(256):
            value = float32(level * preprocessor.rescale_factor)
            if preprocessor.offset:
                value = float32(value - 1.0)
            table.append(float32(value - float32(mean)) / float32(std))
    return HostTensor(table, "float32", (len(table),))


def float32(value: float) -> float:
    """The nearest float32."""
    return array("f", (value,))[0]
