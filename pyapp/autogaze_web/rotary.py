"""Angles of the rotary position embedding, as tables of their cosines and sines.

In tables, because a GPU's cosine of a large angle is off in the third digit, and in float32 step by step as transformers computes
them, because at far positions the last bit of a frequency moves the angle.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from math import cos, pi, sin

from autogaze_web.config import ModelConfig
from autogaze_web.resample import float32
from autogaze_web.runtime import HostTensor


def rotary_frequencies(config: ModelConfig) -> list[float]:
    """Angle per position of each pair of channels, [head_dim / 2], with Llama 3's scaling of long wavelengths."""
    frequencies = [float32(1.0 / float32(config.rope_theta ** float32(pair / config.head_dim))) for pair in range(0, config.head_dim, 2)]
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    original = scaling.original_max_position_embeddings
    scaled = []
    for frequency in frequencies:
        wavelength = float32(float32(2 * pi) / frequency)
        if wavelength < original / scaling.high_freq_factor:
            scaled.append(frequency)
        elif wavelength > original / scaling.low_freq_factor:
            scaled.append(float32(frequency / scaling.factor))
        else:
            blend = float32(
                float32(float32(original / wavelength) - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
            )
            shrunk = float32(float32(float32(1 - blend) * frequency) / scaling.factor)
            scaled.append(float32(shrunk + float32(blend * frequency)))
    return scaled


@lru_cache(maxsize=8)
def rotary_tables(config: ModelConfig, rows: int) -> tuple[HostTensor, HostTensor]:
    """Cosines and sines, float32 [rows, head_dim]: row n is position n - 1, so that a running count of tokens is an index.

    Each angle comes once for the query and once for the key, which the step graphs turn together. Row 0 belongs to the
    padding in front of the first frame, which nothing looks at.
    """
    frequencies = rotary_frequencies(config)
    angles = [float32(max(row - 1, 0) * frequency) for row in range(rows) for frequency in [*frequencies, *frequencies]]
    shape = (rows, 2 * len(frequencies))
    return HostTensor(array("f", map(cos, angles)), "float32", shape), HostTensor(array("f", map(sin, angles)), "float32", shape)
