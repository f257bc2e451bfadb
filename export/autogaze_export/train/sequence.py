"""A whole clip as one sequence, so that one causal pass over it equals decoding it block by block.

Frames follow each other as inference feeds them: a frame's vision tokens, then its gaze tokens. What inference masks (padded slots) is
left out, which comes to the same, and every row ends in filling that nothing before it can see. Positions are those of semantics §4.5:
running counts, but a block that was fed within its frame has the positions of the frame's last vision tokens; the last block of a frame
enters with the next one and has running positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_export.model import AutoGaze, ConvBlock, DecoderLayer, rotate
from autogaze_export.train.capture import Fused


@dataclass
class Packing:
    """Where the tokens of B clips lie."""

    order: Tensor  # int64 [B, S]: which of the T·N vision and then T·n gaze tokens stands there; filling repeats any
    positions: Tensor  # int64 [B, S]
    asked: Tensor  # int64 [B, T, blocks]: the place whose output predicts a block
    exists: Tensor  # bool [B, T, blocks]: whether inference would come to that block


def pack(valid: Tensor, stopped: Tensor, late: Tensor, slots: int, vision: int) -> Packing:
    """Lay out clips.

    valid bool [B, T, n], the tokens that were taken, n a multiple of `slots`, the length of a block; stopped bool [B, T], whether the
    task loss ended the frame and not its budget; late bool [B, T], whether the frame waited for longer rows, so that its last block
    was fed within it; vision: vision tokens of a frame.
    """
    rows, frames, each = valid.shape
    device, counts = valid.device, valid.sum(2)
    begin = torch.arange(frames, device=device) * vision + counts.cumsum(1) - counts  # [B, T]: a frame's first vision token
    blocks = torch.where(stopped, counts // slots + 1, (counts + slots - 1) // slots).clamp(max=each // slots)
    slot = torch.arange(each, device=device)
    length = frames * vision + int(counts.sum(1).max())
    place_vision = begin[..., None] + torch.arange(vision, device=device)  # [B, T, N]
    place_gaze = begin[..., None] + vision + valid.cumsum(2) - 1  # [B, T, n]
    within = late[..., None] | (slot // slots < (blocks - 1)[..., None])
    reused = begin[..., None] + vision - slots + slot % slots
    position_gaze = torch.where(within, reused, place_gaze)
    places = torch.cat([place_vision.flatten(1), torch.where(valid, place_gaze, length).flatten(1)], dim=1)
    positions = torch.cat([place_vision.flatten(1), position_gaze.flatten(1)], dim=1)
    sources = torch.arange(places.shape[1], device=device).expand(rows, -1)
    order = torch.zeros(rows, length + 1, dtype=torch.long, device=device).scatter(1, places, sources)[:, :length]
    block = torch.arange(each // slots, device=device)
    asked = (begin[..., None] + vision - 1 + slots * block).clamp(max=length - 1)
    return Packing(order, positions.gather(1, order), asked, block < blocks[..., None])


def predict(network: AutoGaze, video: Tensor, ids: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
    """Token logits [B, T, blocks, slots, vocab] and task losses [B, T, blocks, slots] of every block, float32.

    video float [B, T, 3, H, W], normalised; ids int64 [B, T, n].
    """
    config, decoder = network.config, network.gazing_model.gaze_decoder
    vision = embed(network, video).flatten(1, 2)  # [B, T·N, hidden]
    gaze = decoder.model.embed_tokens(ids.flatten(1))
    x = torch.cat([vision.float(), gaze.float()], dim=1)
    x = x.gather(1, packing.order[..., None].expand(-1, -1, x.shape[2]))  # [B, S, hidden]
    angles = packing.positions[..., None].float() * network.inv_freq
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    for layer in decoder.model.layers:
        x = causal_layer(x, cast(DecoderLayer, layer), cos, sin)
    hidden = x.gather(1, packing.asked.flatten(1)[..., None].expand(-1, -1, x.shape[2]))
    hidden = decoder.model.norm(hidden).unflatten(1, packing.asked.shape[1:])  # [B, T, blocks, hidden]
    logits = decoder.lm_head(hidden).unflatten(-1, (config.slots, config.vocab))
    with torch.autocast(video.device.type, enabled=False):
        losses = F.linear(hidden.float(), decoder.task_loss_prediction_head.weight)
    return logits.float(), losses


@Fused
def causal_layer(x: Tensor, layer: DecoderLayer, cos: Tensor, sin: Tensor) -> Tensor:
    """As DecoderLayer.forward over a whole sequence, every token of which may be a key."""
    attention = layer.self_attn
    normed = layer.input_layernorm(x)
    query, key = (rotate(attention.split(project(normed)), cos, sin) for project in (attention.q_proj, attention.k_proj))
    value = attention.split(attention.v_proj(normed))
    mixed = F.scaled_dot_product_attention(query.to(value.dtype), key.to(value.dtype), value, is_causal=True)
    x = x + attention.o_proj(mixed.transpose(1, 2).flatten(2))
    return x + layer.mlp(layer.post_attention_layernorm(x))  # type: ignore[no-any-return]


def embed(network: AutoGaze, video: Tensor) -> Tensor:
    """As AutoGaze.embed at the start of a sequence, for frames of the model's size; its convolutions as faster ones over single frames."""
    config, vision = network.config, network.gazing_model.vision_model
    rows, frames = video.shape[:2]
    x = F.conv2d(video.flatten(0, 1), vision.temporal_conv.weight[:, :, 0], vision.temporal_conv.bias, stride=config.patch)
    x = vision.norm(x.movedim(1, -1)).unflatten(0, (rows, frames))  # [B, T, h, w, C]
    span = config.trunk_temporal_kernel
    x = F.pad(x, (0, 0, 0, 0, 0, 0, span - 1, 0))
    x = torch.cat([x[:, tap : tap + frames] for tap in range(span)], dim=-1).flatten(0, 1).permute(0, 3, 1, 2)  # [B·T, span · C, h, w]
    conv = cast(ConvBlock, vision.blocks[0]).conv3d
    x = F.relu(F.conv2d(x, conv.weight.transpose(1, 2).flatten(1, 2), conv.bias, padding=config.trunk_spatial_kernel // 2))
    x = F.conv2d(x, vision.out_proj.weight[..., 0], vision.out_proj.bias)
    features = x.flatten(2).transpose(1, 2).unflatten(0, (rows, frames))  # [B, T, h·w, hidden]
    return cast(Tensor, features + network.gazing_model.connector.pos_embed)
