"""Ties places into a network that was trained without them, so that it can find the past gaze token that covers a patch.

What was taken is only there as past gaze tokens, and where they lie in the sequence says nothing of where they lie in the picture.
A network trained from noise makes what a patch shows sixty times as strong as where it is; then no head can match places, and it never
learns to. So: the directions of the residual stream that it uses least are cleared and get waves of the place of each patch and each cell,
and heads that it can do without begin anew: one asks which gaze token covers a patch, and writes what scale it had into directions that
later layers learn to read; one gathers for each gaze token what is under it. Nothing here says what to look at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from autogaze_export.model import AutoGaze, DecoderLayer, SelfAttention
from autogaze_export.train.recipe import Lesson
from autogaze_export.train.sequence import predict
from autogaze_export.train.teacher import memberships
from autogaze_web.config import ModelConfig

ASKING, GATHERING, ASKING_LATER = (0, 0), (0, 5), (1, 5)  # layers and heads that are given up: the error hardly depends on them
WAVES = (1, 4, 7)  # of a place, per twice the picture's side
PATCH, GAZE = 8.0, 0.2  # amplitudes: of patches, whose features are about 15 strong, and of gaze tokens, which are 0.1 strong
SHARP = 5.0  # what a wave's match adds to a score
CROWD = 7.5  # logarithm of the patches that a gaze token must outbid in a clip
WRITTEN = 8.0  # amplitude of "covered by this scale"
RECENT = 2.0  # what a pair of channels adds to the score of a patch of this frame


@dataclass
class Room:
    """Directions [hidden, n] of the residual stream, each set apart for one meaning."""

    patch: Tensor  # the waves of a patch's place
    cell: Tensor  # the waves of a gaze token's place
    kind: Tensor  # two: patch, gaze token
    scale: Tensor  # a gaze token's scale
    covered: Tensor  # by which scale a patch is covered


def residuals(network: AutoGaze, video: Tensor, lesson: Lesson) -> tuple[list[Tensor], Tensor]:
    """What each layer reads, of all tokens of a lesson, each of unit strength: [tokens, hidden] a layer; and which are gaze tokens."""
    found: list[Tensor] = []
    layers = [cast(DecoderLayer, layer) for layer in network.gazing_model.gaze_decoder.model.layers]
    hooks = [layer.input_layernorm.register_forward_pre_hook(lambda _, args: found.append(args[0].detach())) for layer in layers]
    predict(network, video, lesson.ids, lesson.packing)
    for hook in hooks:
        hook.remove()
    patches = video.shape[1] * network.config.connector_tokens
    units = [(x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)).flatten(0, 1) for x in found]
    return units, (lesson.packing.order >= patches).flatten()


@torch.no_grad()
def tie_places(network: AutoGaze, video: Tensor, lesson: Lesson) -> None:
    """Clear room and draw places and heads; the lesson, of normalised video, shows what the network uses."""
    config, decoder = network.config, network.gazing_model.gaze_decoder
    if config.layers < 2 or config.heads < 6 or config.head_dim < 4 * len(WAVES) + 2:
        return  # too small a network to give up heads
    room = clear_room(network, residuals(network, video, lesson)[0])
    cells = memberships(config.layout, math.lcm(*config.layout.grids)).to(network.device)  # [cells, atoms]
    shares = cells @ (cells[config.layout.offsets[-2] :] > 0).float().T
    shares = shares / shares.sum(1, keepdim=True)  # [cells, patches]
    waves, scales = place_waves(config).to(network.device), scale_of_cells(config).to(network.device)
    network.gazing_model.connector.pos_embed.add_(PATCH * (waves @ room.patch.T + room.kind[:, 0]))
    marks = shares @ waves @ room.cell.T + room.kind[:, 1] + room.scale[:, scales].T
    decoder.model.embed_tokens.weight[: len(marks)].add_(GAZE * marks)
    bars = thresholds(waves @ (shares @ waves).T, shares, scales)
    for (number, head), asks in ((ASKING, True), (GATHERING, False), (ASKING_LATER, True)):
        read, gaze = residuals(network, video, lesson)
        strength = float((read[number][~gaze] @ room.kind[:, 0]).mean()), float((read[number][gaze] @ room.kind[:, 1]).mean())
        draw_head(network, number, head, room, bars, asks, strength)


def clear_room(network: AutoGaze, read: list[Tensor]) -> Room:
    """The directions that vary least, freed of what is written there."""
    config, decoder = network.config, network.gazing_model.gaze_decoder
    spread = sum((x.T @ x / len(x) for x in read), torch.zeros_like(read[0].T @ read[0]))
    waves, scales = 4 * len(WAVES), len(config.layout.scales)
    counts = (waves, waves, 2, scales, scales)
    basis = torch.linalg.eigh(spread).eigenvectors[:, : sum(counts)]  # [hidden, n]

    def cleared(weight: Tensor) -> None:  # [hidden, …]
        weight.sub_((basis @ (basis.T @ weight.flatten(1))).reshape(weight.shape))

    vision = network.gazing_model.vision_model
    cleared(vision.out_proj.weight)
    cleared(cast(Tensor, vision.out_proj.bias)[:, None])
    for table in (network.gazing_model.connector.pos_embed, decoder.model.embed_tokens.weight):
        table.sub_(table @ basis @ basis.T)
    for layer in decoder.model.layers:
        cleared(cast(SelfAttention, layer.self_attn).o_proj.weight)
        cleared(cast(DecoderLayer, layer).mlp.down_proj.weight)
    return Room(*basis.split(counts, dim=1))


def draw_head(network: AutoGaze, number: int, head: int, room: Room, bars: list[float], asks: bool, strength: tuple[float, float]) -> None:
    """A head that matches places: of patches with those of gaze tokens (asks), or of gaze tokens with those of patches.

    strength: how strong what is drawn is in what the layer reads, of patches and of gaze tokens.
    """
    config = network.config
    layer = cast(DecoderLayer, network.gazing_model.gaze_decoder.model.layers[number])
    attention, norm, half = layer.self_attn, layer.input_layernorm.weight, config.head_dim // 2
    rows = slice(head * config.head_dim, (head + 1) * config.head_dim)
    query, key = attention.q_proj.weight[rows].zero_(), attention.k_proj.weight[rows].zero_()
    value, out = attention.v_proj.weight[rows], attention.o_proj.weight[:, rows]

    def reads(directions: Tensor, of: int) -> Tensor:  # [hidden, n] -> rows that answer with what was drawn
        return (directions / strength[of] / norm[:, None]).T

    patch, cell, kinds, scales = reads(room.patch, 0), reads(room.cell, 1), room.kind, reads(room.scale, 1)
    root, slow = math.sqrt(config.head_dim), range(half - 1, -1, -1)  # pairs that rotary embedding turns least come first
    for wave in range(len(patch)):
        row = slow[wave // 2] + half * (wave % 2)
        query[row] = math.sqrt(SHARP * root) * (patch if asks else cell)[wave]
        key[row] = math.sqrt(SHARP * root) * (cell if asks else patch)[wave]
    kind = slow[len(patch) // 2]
    if asks:
        query[kind] = root * reads(kinds[:, :1], 0)[0]
        for scale, bar in enumerate(bars):
            key[kind] += (CROWD - SHARP * bar) * scales[scale]
            value[scale], out[:, scale] = scales[scale], WRITTEN * room.covered[:, scale]
        out[:, len(bars) :] *= 0.3
    else:
        query[kind] = root * reads(kinds[:, 1:], 1)[0]
        key[kind] = CROWD * reads(kinds[:, :1], 0)[0]
        prefer_recent(query, key, network, reads(kinds[:, 1:], 1)[0], reads(kinds[:, :1], 0)[0])


def prefer_recent(query: Tensor, key: Tensor, network: AutoGaze, asking: Tensor, answering: Tensor) -> None:
    """A head's score is highest half a frame back and falls from there, by the pairs of channels that turn slowly within a frame."""
    span, half = network.config.connector_tokens, network.config.head_dim // 2
    strength = math.sqrt(RECENT * math.sqrt(network.config.head_dim))
    for pair in range(half):
        turn = float(network.inv_freq[pair]) * span
        if 0.05 <= turn <= math.pi / 2:
            key[pair] = strength * answering
            query[pair], query[pair + half] = strength * math.cos(turn / 2) * asking, -strength * math.sin(turn / 2) * asking


def thresholds(matches: Tensor, shares: Tensor, scales: Tensor) -> list[float]:
    """For each scale the match between those of cells with patches that they cover and with patches beside them.

    matches [patches, cells], shares [cells, patches].
    """
    inside, beside = (shares > 0).T & (shares >= 0.9 * shares.amax(1, keepdim=True)).T, (shares == 0).T
    found = []
    for scale in range(int(scales.max()) + 1):
        of = scales == scale
        within = matches[:, of][inside[:, of]].mean()
        found.append(float(within + matches[:, of].where(beside[:, of], -math.inf).amax(1).mean()) / 2)
    return found


def place_waves(config: ModelConfig) -> Tensor:
    """Cosines and sines of each patch's place: [patches, 4 · waves]."""
    grid = config.layout.grids[-1]
    line = (torch.arange(grid) + 0.5) * math.pi / grid
    angles = [wave * at for wave in WAVES for at in (line.repeat(grid), line.repeat_interleave(grid))]
    return torch.stack([part for angle in angles for part in (angle.cos(), angle.sin())], dim=1)


def scale_of_cells(config: ModelConfig) -> Tensor:
    return torch.tensor([config.layout.locate(cell)[0] for cell in range(config.layout.cells)])
