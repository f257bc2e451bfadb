"""AutoGaze, the network: a shallow video convnet and a small Llama decoder that names the cells worth looking at.

Written from the description in docs/semantics.md; module names give NVIDIA's tensor names, so that their state dict loads as it is.
This file is the reference: the graphs are proved against it, and it is proved against traces of NVIDIA's own code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_web.config import ModelConfig

MASKED = torch.finfo(torch.float32).min  # added to the score of a key that must not be seen; finite, so that no row gives NaN


class ConvBlock(nn.Module):
    """Causal 3-D convolution over the current frame and the frames before it, then ReLU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kernel = (config.trunk_temporal_kernel, config.trunk_spatial_kernel, config.trunk_spatial_kernel)
        self.conv3d = nn.Conv3d(config.vision_hidden, config.vision_hidden, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2))

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, C, T, h, w] and the inputs before it, past [B, C, kernel-1, h, w] -> output [B, C, T, h, w], the next past."""
        x = torch.cat([past, x], dim=2)
        return F.relu(self.conv3d(x)), x[:, :, x.shape[2] - past.shape[2] :]


class VisionModel(nn.Module):
    """Patches of each frame -> one causal block -> features."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kernel = (1, config.patch, config.patch)
        self.temporal_conv = nn.Conv3d(3, config.vision_hidden, kernel, stride=kernel)
        self.norm = nn.LayerNorm(config.vision_hidden)
        self.blocks = nn.ModuleList([ConvBlock(config)])
        self.out_proj = nn.Conv3d(config.vision_hidden, config.vision_out, 1)

    def forward(self, video: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """video [B, T, 3, H, W] -> features [B, T, h·w, C], the next past."""
        x = self.temporal_conv(video.transpose(1, 2))  # [B, C, T, h, w]
        x = self.norm(x.movedim(1, -1)).movedim(-1, 1)  # over channels
        x, past = self.blocks[0](x, past)
        return self.out_proj(x).flatten(3).permute(0, 2, 3, 1), past


class Connector(nn.Module):
    """The learned position of each vision token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(config.connector_tokens, config.hidden))


class RMSNorm(nn.Module):
    """x / rms(x) · weight."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden))
        self.eps = config.rms_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


class SelfAttention(nn.Module):
    """Multi-head attention without biases."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.heads, config.head_dim
        width = config.heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden, width, bias=False)
        self.k_proj = nn.Linear(config.hidden, width, bias=False)
        self.v_proj = nn.Linear(config.hidden, width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """[B, S, heads·head_dim] -> [B, heads, S, head_dim]."""
        return x.reshape(*x.shape[:2], self.heads, self.head_dim).transpose(1, 2)


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.intermediate, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.intermediate, bias=False)
        self.down_proj = nn.Linear(config.intermediate, config.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config)
        self.self_attn = SelfAttention(config)
        self.post_attention_layernorm = RMSNorm(config)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor, cache: list[Tensor]) -> Tensor:
        """x [B, S, C], bias [B, 1, S, L]; appends the S new keys and values to cache, which then holds L of them."""
        attention = self.self_attn
        normed = self.input_layernorm(x)
        query = rotate(attention.split(attention.q_proj(normed)), cos, sin)
        key = rotate(attention.split(attention.k_proj(normed)), cos, sin)
        value = attention.split(attention.v_proj(normed))
        cache[:] = [torch.cat([old, new], dim=2) for old, new in zip(cache, (key, value), strict=True)] if cache else [key, value]
        mixed = F.scaled_dot_product_attention(query, cache[0], cache[1], attn_mask=bias)  # [B, heads, S, head_dim]
        x = x + attention.o_proj(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Llama(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList([DecoderLayer(config) for _ in range(config.layers)])
        self.norm = RMSNorm(config)


class GazeDecoder(nn.Module):
    """The decoder and its two heads, each of which predicts `slots` tokens at once."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.model = Llama(config)
        self.lm_head = nn.Linear(config.hidden, config.slots * config.vocab, bias=False)
        self.task_loss_prediction_head = nn.Linear(config.hidden, config.slots, bias=False)


class GazingModel(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.vision_model = VisionModel(config)
        self.connector = Connector(config)
        self.gaze_decoder = GazeDecoder(config)


class AutoGaze(nn.Module):
    """The whole network. `generate` is what a person calls; `embed` and `decode` are its two halves."""

    inv_freq: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.gazing_model = GazingModel(config)
        self.register_buffer("inv_freq", rotary_frequencies(config), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.inv_freq.device

    def embed(self, video: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Vision tokens of normalised frames.

        video float32 [B, T, 3, H, W] (resized to the model's square here), past [B, C, 2, h, w] or None at the start of a
        sequence -> tokens [B, T, N, hidden] and the next past.
        """
        size = self.config.input_size
        video = resize_bicubic(video.flatten(0, 1), size).unflatten(0, video.shape[:2])
        if past is None:
            side = size // self.config.patch
            past = video.new_zeros(len(video), self.config.vision_hidden, self.config.trunk_temporal_kernel - 1, side, side)
        features, past = self.gazing_model.vision_model(video, past)
        return features + self.gazing_model.connector.pos_embed, past

    def decode(self, embeds: Tensor, positions: Tensor, seen: Tensor, caches: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
        """Run the decoder over S new embeddings behind what the caches hold.

        embeds [B, S, hidden]; positions int [B, S]; seen bool [B, L], which of all L tokens so far may be keys; one cache a
        layer, extended in place -> token logits [B, slots, vocab] and task losses [B, slots] of the last position.
        """
        decoder = self.gazing_model.gaze_decoder
        count, length = embeds.shape[1], seen.shape[1]
        causal = torch.ones(count, length, dtype=torch.bool, device=seen.device).tril(length - count)
        bias = torch.where(causal & seen[:, None], 0.0, MASKED)[:, None]  # [B, 1, S, L]
        angles = positions[..., None].float() * self.inv_freq  # [B, S, head_dim / 2]
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        for layer, cache in zip(decoder.model.layers, caches, strict=True):
            embeds = layer(embeds, cos, sin, bias, cache)
        last = decoder.model.norm(embeds[:, -1])
        return decoder.lm_head(last).unflatten(-1, (self.config.slots, self.config.vocab)), decoder.task_loss_prediction_head(last)

    @torch.no_grad()
    def generate(self, video: Tensor, budgets: list[int], task_loss_requirement: float | None) -> Gaze:
        """Gaze at whole clips, frame by frame.

        video float32 [B, T, 3, H, W], normalised; budgets: the most tokens of each of the T frames; a frame of a row ends
        early when the predicted task loss is at or below task_loss_requirement (None: never). Semantics §4.
        """
        embeds, _ = self.embed(video)
        state = Sequence.start(self, len(video))
        for frame, budget in enumerate(budgets):
            state.gaze(embeds[:, frame], budget, task_loss_requirement)
        return state.gaze_so_far


@dataclass
class Gaze:
    """What was looked at; every list has one entry a frame, of n slots for all rows alike."""

    ids: list[Tensor] = field(default_factory=list)  # int64 [B, n], ids within the frame; the end token in padded slots
    valid: list[Tensor] = field(default_factory=list)  # bool [B, n]
    probs: list[Tensor] = field(default_factory=list)  # float [B, n], of the chosen id in the whole vocabulary
    task_loss: list[Tensor] = field(default_factory=list)  # float [B, slots · blocks], the predicted loss before each slot's token


@dataclass
class Sequence:
    """The state of decoding a batch of clips: everything that later tokens can see."""

    network: AutoGaze
    caches: list[list[Tensor]]  # a layer: [] or [keys, values], each [B, heads, L, head_dim]
    seen: Tensor  # bool [B, L]
    unfed: Tensor  # int64 [B, n]: the last block of the frame before, which enters with the next frame
    gaze_so_far: Gaze
    forgotten: int = 0  # leading tokens that are no keys any more (rolling windows); positions count them all the same

    @classmethod
    def start(cls, network: AutoGaze, rows: int) -> Sequence:
        empty = torch.zeros(rows, 0, dtype=torch.long, device=network.device)
        return cls(network, [[] for _ in range(network.config.layers)], empty.bool(), empty, Gaze())

    def gaze(self, vision: Tensor, budget: int, requirement: float | None) -> None:
        """Choose the tokens of the next frame from its vision tokens [B, N, hidden]; at most `budget` of them."""
        config, embed_tokens = self.network.config, self.network.gazing_model.gaze_decoder.model.embed_tokens
        end = config.eos_token
        embeds = torch.cat([embed_tokens(self.unfed), vision], dim=1)
        news = torch.cat([self.unfed != end, vision.new_ones(vision.shape[:2], dtype=torch.bool)], dim=1)
        self.seen = torch.cat([self.seen, news], dim=1)
        positions = self.seen.long().cumsum(1)[:, -embeds.shape[1] :] - 1
        block_positions = positions[:, -config.slots :]  # reused by every block of the frame: upstream's loop does not advance them
        forbidden = torch.zeros(len(vision), config.vocab, dtype=torch.bool, device=vision.device)
        forbidden[:, end] = True
        finished = torch.zeros(len(vision), dtype=torch.bool, device=vision.device)
        visible = self.seen.clone()
        visible[:, : self.forgotten] = False
        # Upstream masks padded slots only from the next frame on: within its frame every slot is a key.
        frame: list[tuple[Tensor, ...]] = []
        while True:
            logits, losses = self.network.decode(embeds, positions, visible, self.caches)
            room = min(config.slots, budget - config.slots * len(frame))
            ids, probs = choose(logits[:, :room], forbidden)
            stopped = losses[:, :room] <= (-math.inf if requirement is None else requirement)
            if not frame:
                stopped[:, 0] = False
            valid = ~stopped & ~finished[:, None]
            ids = ids.masked_fill(~valid, end)
            frame.append((ids, valid, probs, losses))
            finished = finished | stopped.any(1)
            if bool(finished.all()) or config.slots * len(frame) >= budget:
                break
            forbidden.scatter_(1, ids, True)
            embeds, positions = embed_tokens(ids), block_positions
            self.seen = torch.cat([self.seen, valid], dim=1)
            visible = torch.cat([visible, torch.ones_like(valid)], dim=1)
        self.unfed = ids
        gaze = self.gaze_so_far
        for target, parts in zip((gaze.ids, gaze.valid, gaze.probs, gaze.task_loss), zip(*frame, strict=True), strict=True):
            target.append(torch.cat(parts, dim=1))


def choose(logits: Tensor, forbidden: Tensor) -> tuple[Tensor, Tensor]:
    """Greedy choice of one id a slot, none twice; ties go to the lowest id.

    logits [B, n, V], whose last id is the end token; forbidden bool [B, V] -> ids int64, probs [B, n]. The probability is upstream's:
    over the whole vocabulary, what is forbidden included.
    """
    forbidden = forbidden.clone()
    ids = []
    for slot in logits.unbind(1):
        best = slot.masked_fill(forbidden, -math.inf).argmax(-1, keepdim=True)
        ids.append(best)
        forbidden.scatter_(1, best, True)
    chosen = torch.cat(ids, dim=1)
    return chosen, logits.softmax(-1).gather(2, chosen[..., None])[..., 0]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x [B, heads, S, D], half against half, by angles whose cos and sin are [B, 1, S, D / 2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def rotary_frequencies(config: ModelConfig) -> Tensor:
    """Angle per position of each pair of channels, float32 [head_dim / 2], with Llama 3's scaling of long wavelengths.

    In float32 step by step as transformers computes it, because ids at far positions depend on the last bit.
    """
    frequencies = 1.0 / config.rope_theta ** (torch.arange(0, config.head_dim, 2).float() / config.head_dim)
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    wavelength = 2 * math.pi / frequencies
    longest = scaling.original_max_position_embeddings / scaling.low_freq_factor
    shortest = scaling.original_max_position_embeddings / scaling.high_freq_factor
    scaled = torch.where(wavelength > longest, frequencies / scaling.factor, frequencies)
    blend = (scaling.original_max_position_embeddings / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    between = (1 - blend) * scaled / scaling.factor + blend * scaled
    return torch.where((wavelength < shortest) | (wavelength > longest), scaled, between)


def resize_bicubic(frames: Tensor, size: int) -> Tensor:
    """frames [N, 3, H, W] -> [N, 3, size, size]; bicubic a = -0.75, no antialias, as upstream resizes inside the model."""
    if frames.shape[-2:] == (size, size):
        return frames
    return F.interpolate(frames, size=(size, size), mode="bicubic", align_corners=False)
