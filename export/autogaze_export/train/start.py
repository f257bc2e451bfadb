"""Where training starts: weights that already tie places together, instead of noise that would have to discover places first.

The network keeps its memory in its keys: what was taken is only there as past gaze tokens, whose positions in the sequence say nothing of
their places in the picture. From noise it learns what a frame looks like long before it learns to find the past token that covers a patch,
and then needs that no more. So what is drawn here is geometry, and nothing of what to look at: each patch and each cell carries a code of
its place, some heads begin by looking for tokens of their own place, outputs begin as the codes of the cells they name, and the patch
filters begin as waves, rough to fine, whose strengths tell what each scale would show. All of it is trained on from there.
"""

from __future__ import annotations

import math
import re
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_export.model import AutoGaze, ConvBlock, SelfAttention
from autogaze_export.train.teacher import memberships
from autogaze_web.config import ModelConfig

SPREAD = 0.02  # standard deviation of what is not drawn, as Llama's
READING = 1.5  # times that: what reads the residual stream, which is narrow here, so that heads differ from the start
TURN = 0.7  # radians by which rotary embedding may turn a place's channels over the longest sequence
FOURIER, JOINT = 2.0, 0.5  # amplitudes in the residual stream: waves that heads match places by, and the code that outputs read
SHARPNESS = 6.0  # by how much a head's score falls from a place to the one beside it
DETAIL, TYPICAL = 8.0, 0.2  # scale and mean of the detail channel
LIKED = 1.6  # of gaze tokens by heads that look for them
SALIENT, KNOWN, RECENT = 0.5, 2.0, 0.7  # what the last layer's heads look for: detail; against what is known; for this frame
ANSWER = 15.0  # of the place codes that the last layer passes on
OUTPUT = 0.045  # of an output's weights
FEATURES, CONTENT = 2.5, 0.45  # times SPREAD; and the amplitude in the residual stream that it gives what a patch shows
BESIDE_CODE = 0.1  # times that, in the channels of the code
STRONG = 1.0  # bias of the patch filters: the normalisation behind them forgets how strong a patch is where it is weaker than this
READERS = re.compile(r"layers.*\.(gate|up)_proj")


def initialise(network: AutoGaze, seed: int) -> None:
    """Draw all weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, SPREAD * (READING if READERS.search(name) else 1), generator=generator)
            elif name.endswith("bias"):
                weight.zero_()
        channels = Channels(network.config)
        draw_filters(network, channels)
        if channels.joint > 0:
            draw_places(network, channels)
            *earlier, last = [cast(SelfAttention, layer.self_attn) for layer in network.gazing_model.gaze_decoder.model.layers]
            for attention in earlier:
                draw_heads(attention, network, channels)
            draw_answer(last, network, channels)


class Channels:
    """What the hidden channels mean at the start; those left over are free."""

    def __init__(self, config: ModelConfig) -> None:
        grid = config.layout.grids[-1]
        self.waves = tuple(sorted({1, max(1, 2 * grid // 7), max(1, grid // 2)}))  # of the finest grid, per twice its side
        self.fourier = 4 * len(self.waves)  # cosine and sine of each wave along x and y
        self.vision = self.fourier  # 1 in a patch
        self.gaze = self.vision + 1  # 1 in a gaze token
        self.asks = self.gaze + 1  # 1 where the next block may be read
        self.scale = self.asks + 1  # one channel for each scale: 1 in a gaze token of that scale
        self.known = self.scale + len(config.layout.scales)  # 1 + scales, for a patch: what its place was last seen by
        self.detail = self.known + 1 + len(config.layout.scales)  # how much a patch shows that its mean does not
        self.code = self.detail + 1
        self.joint = min(grid * grid - 1, 2 * config.hidden // 3, config.hidden - self.code)


def draw_filters(network: AutoGaze, channels: Channels) -> None:
    """Patch filters as cosine waves of the picture's grey and colours, so that each answers about as strongly to a natural picture."""
    vision, config = network.gazing_model.vision_model, network.config
    size, count = config.patch, config.vision_hidden
    waves = cosines(size)  # [size², size, size], rough to fine
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    shares = (count - 2 * (count // 6), count // 6, count // 6)
    filters = [
        (waves[:share] * wave_number(size)[:share, None, None] / size)[:, None] * colour[:, None, None]
        for share, colour in zip(shares, colours, strict=True)
    ]
    weight, bias = vision.temporal_conv.weight, cast(Tensor, vision.temporal_conv.bias)
    weight.copy_(torch.cat(filters)[:, :, None])
    bias.copy_(torch.where(torch.arange(count) % 2 == 0, STRONG, -STRONG))
    conv = cast(ConvBlock, vision.blocks[0]).conv3d
    here, now = config.trunk_spatial_kernel // 2, config.trunk_temporal_kernel - 1
    conv.weight.mul_(0.1)
    for channel in range(count):
        sign = 1.0 if channel // 2 % 2 == 0 else -1.0
        conv.weight[channel, channel, now, here, here] += sign
        if channel % 3 == 2 and now:
            conv.weight[channel, channel, now - 1, here, here] -= sign  # change
        else:
            cast(Tensor, conv.bias)[channel] = -sign * bias[channel]  # an answer and its opposite both count as strength
    out = vision.out_proj.weight
    out.mul_(FEATURES)
    if channels.joint > 0:
        out[: channels.code] = 0  # what a patch shows stays out of the channels that have a meaning
        out[channels.code : channels.code + channels.joint] *= BESIDE_CODE
        still = (torch.arange(count) % 3 != 2) & (torch.arange(count) > 0) & (torch.arange(count) < shares[0])
        out[channels.detail] = (DETAIL * still / still.sum())[:, None, None, None]
        cast(Tensor, vision.out_proj.bias)[channels.detail] = -DETAIL * TYPICAL


def draw_places(network: AutoGaze, channels: Channels) -> None:
    """Codes of places into patches, gaze tokens and outputs."""
    config, decoder = network.config, network.gazing_model.gaze_decoder
    grid = config.layout.grids[-1]
    side = math.lcm(*config.layout.grids)
    member = memberships(config.layout, side)  # [cells, atoms]
    shares = member / member.sum(1, keepdim=True)
    patches = config.connector_tokens
    codes = torch.zeros(patches, config.hidden)
    line = (torch.arange(grid) + 0.5) * math.pi / grid
    rows, columns = line.repeat_interleave(grid), line.repeat(grid)
    for number, wave in enumerate(channels.waves):
        for axis, at in enumerate((columns, rows)):
            first = 4 * number + 2 * axis
            codes[:, first], codes[:, first + 1] = FOURIER * (wave * at).cos(), FOURIER * (wave * at).sin()
    joint = cosines(grid)[1 : 1 + channels.joint].flatten(1).T * grid  # [patches, joint]
    codes[:, channels.code : channels.code + channels.joint] = JOINT * joint
    finest = shares[config.layout.offsets[-2] :]  # [patches, atoms]
    covered = shares @ (finest > 0).float().T  # [cells, patches], a cell's mean over the patches that it covers
    cells = covered @ codes
    code = cells[:, channels.code : channels.code + channels.joint]
    code = code / code.norm(dim=1, keepdim=True).clamp(min=1e-6)
    blurred = cells[:, : channels.fourier].square().sum(1, keepdim=True)
    code = (
        code * (JOINT**2 * channels.joint + FOURIER**2 * channels.fourier / 2 + CONTENT**2 * config.hidden - blurred).sqrt()
    )  # tokens of one length
    cells[:, channels.code : channels.code + channels.joint] = code
    codes[:, channels.vision] = 1
    codes[-1, channels.asks] = 1
    cells[:, [channels.gaze, channels.asks]] = 1
    cells[torch.arange(len(cells)), channels.scale + scale_numbers(config)] = 1
    network.gazing_model.connector.pos_embed.add_(codes)
    decoder.model.embed_tokens.weight[: len(cells)].add_(cells)
    outputs = decoder.lm_head.weight.unflatten(0, (config.slots, config.vocab))
    outputs[:, : len(cells), channels.code : channels.code + channels.joint] += OUTPUT * F.normalize(code) * channels.joint**0.5


def draw_heads(attention: SelfAttention, network: AutoGaze, channels: Channels) -> None:
    """Heads that look for their own place: one among gaze tokens ("what covers me?"), one among patches ("what is under me?")."""
    config, decoder = network.config, network.gazing_model.gaze_decoder
    half = config.head_dim // 2
    longest = config.max_num_frames * (config.connector_tokens + config.cells_each_frame)
    slow = [pair for pair in range(half) if float(network.inv_freq[pair]) * longest <= TURN][::-1]
    needed = channels.fourier // 2
    if len(slow) <= needed or attention.heads < 2:
        return
    strength = math.sqrt(SHARPNESS * math.sqrt(config.head_dim)) / FOURIER
    places = network.gazing_model.connector.pos_embed[:, : channels.fourier]
    cells = decoder.model.embed_tokens.weight[: config.cells_each_frame, : channels.fourier]
    likings = balance(places @ cells.T / FOURIER**2, float(needed), config)
    for head in range(2):
        rows = slice(head * config.head_dim, (head + 1) * config.head_dim)
        query, key = attention.q_proj.weight[rows], attention.k_proj.weight[rows]
        for number in range(needed):
            for weight in (query, key):
                weight[slow[number]].zero_()[2 * number] = strength
                weight[slow[number] + half].zero_()[2 * number + 1] = strength
        kind = slow[needed]
        for weight in (query, key):
            weight[kind].zero_()
        query[kind, [channels.vision, channels.gaze]] = strength * FOURIER
        if head == 0:
            for scale, liking in enumerate(likings):
                key[kind, channels.scale + scale] = strength * FOURIER * liking
            value, out = attention.v_proj.weight[rows], attention.o_proj.weight[:, rows]
            for number in range(1 + len(likings)):
                value[number].zero_()[channels.vision if number == 0 else channels.scale + number - 1] = 1.0
                out[:, number].zero_()[channels.known + number] = 1.0
        else:
            key[kind, channels.vision] = strength * FOURIER
            prefer_recent(query, key, network, channels)


def draw_answer(attention: SelfAttention, network: AutoGaze, channels: Channels) -> None:
    """The last layer's heads look for patches of this frame with detail that is not known, and pass on the codes of their places.

    Each head passes on a part of the code, which outputs read.
    """
    half, scales = attention.head_dim // 2, len(network.config.layout.scales)
    part = -(-channels.joint // attention.heads)
    for head in range(attention.heads):
        first = head * attention.head_dim
        for channel in range(head * part, min((head + 1) * part, channels.joint)):
            row = first + channel - head * part
            attention.v_proj.weight[row].zero_()[channels.code + channel] = 1.0
            attention.o_proj.weight[:, row].zero_()[channels.code + channel] = ANSWER
        query, key = (projection.weight[first : first + attention.head_dim] for projection in (attention.q_proj, attention.k_proj))
        for weight in (query, key):
            weight[half - 1].zero_()
        sharp = math.sqrt(SALIENT * math.sqrt(attention.head_dim))
        query[half - 1, channels.asks] = sharp
        key[half - 1, channels.detail] = sharp
        key[half - 1, channels.known + scales] = -KNOWN * sharp  # by the finest scale: nothing is left to see
        key[half - 1, channels.gaze] = -KNOWN * sharp
        prefer_recent(query, key, network, channels)


def prefer_recent(query: Tensor, key: Tensor, network: AutoGaze, channels: Channels) -> None:
    """A head's score is highest half a frame back and falls from there, by the slow pairs of channels that still turn."""
    span, half = network.config.connector_tokens, network.config.head_dim // 2
    strength = math.sqrt(RECENT * math.sqrt(network.config.head_dim))
    both = [channels.vision, channels.gaze]
    for pair in range(half):
        turn = float(network.inv_freq[pair]) * span
        if TURN / 16 <= turn <= math.pi / 2:
            for weight in (query, key):
                weight[[pair, pair + half]] = 0
            key[pair, both] = strength
            query[pair, both], query[pair + half, both] = strength * math.cos(turn / 2), -strength * math.sin(turn / 2)


def balance(matches: Tensor, own: float, config: ModelConfig) -> list[float]:
    """How much more than a patch a gaze token of each scale must be liked, so that a patch prefers itself to cells beside it and a cell that
    covers it to itself; matches [patches, cells], own: a patch's match with itself."""
    covers = (memberships(config.layout, math.lcm(*config.layout.grids)) > 0).float()
    finest = covers[config.layout.offsets[-2] :]
    inside = finest @ covers.T / finest.sum(1, keepdim=True) > 0.99  # [patches, cells]
    scales, likings = scale_numbers(config), []
    for scale in range(len(config.layout.scales)):
        of = scales == scale
        within = matches[:, of][inside[:, of]].mean()
        beside = matches[:, of].masked_fill(finest @ covers[of].T > 0, -math.inf).amax(1).mean()
        likings.append(own - float(within + 3 * beside) / 4 + LIKED)
    return likings


def scale_numbers(config: ModelConfig) -> Tensor:
    return torch.tensor([config.layout.locate(cell)[0] for cell in range(config.layout.cells)])


def cosines(size: int) -> Tensor:
    """The cosine transform's waves of a square, orthonormal, rough to fine: [size², size, size]."""
    at = torch.arange(size) + 0.5
    waves = torch.cos(math.pi / size * torch.arange(size)[:, None] * at) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    both = waves[:, None, :, None] * waves[None, :, None, :]  # [size, size, size, size]
    return both.flatten(0, 1)[order(size)]


def wave_number(size: int) -> Tensor:
    """How fine each of the `cosines` is, from 1."""
    across = torch.arange(size)
    return (1 + (across[:, None] ** 2 + across**2).float().sqrt()).flatten()[order(size)]


def order(size: int) -> Tensor:
    across = torch.arange(size)
    return (across[:, None] ** 2 + across**2).flatten().argsort(stable=True)
