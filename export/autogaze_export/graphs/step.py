"""`step`: new tokens + KV cache -> the next ten gaze tokens, chosen and checked against the stop rules on the device.

One module becomes two graphs: `step_first` feeds the last block of the frame before and this frame's vision tokens, `step_next` feeds
the block chosen a moment ago. Everything that a later run needs leaves as `next.NAME` and enters as `NAME`; caches are written in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_export.graphs import fused
from autogaze_export.model import AutoGaze, DecoderLayer

HIDDEN = -1e30  # added to the score of a key that must not be seen; two of them still are finite
FORBIDDEN = -(2.0**30)  # added to the logit of an id that must not be chosen; multiples of it mark the slot that chose the id


class Choice(NamedTuple):
    """The block that a run chose; all [batch, slots]."""

    ids: Tensor  # int32, the end token where not valid
    valid: Tensor  # int32, 1 or 0
    probs: Tensor  # float32, of the chosen id in the whole vocabulary
    task_loss: Tensor  # float32, the predicted loss of the frame before the slot's token is added


class Step(nn.Module):
    """What both graphs share: the decoder over a cache of fixed capacity, and the choice of a block."""

    cell_ids: Tensor
    slot_codes: Tensor

    def __init__(self, network: AutoGaze) -> None:
        super().__init__()
        self.network, self.config = network, network.config
        self.register_buffer("cell_ids", torch.arange(self.config.vocab, dtype=torch.float32), persistent=False)
        codes = FORBIDDEN * torch.arange(2, 2 + self.config.slots, dtype=torch.float32)
        self.register_buffer("slot_codes", codes, persistent=False)

    def decode(self, x: Tensor, angle: Tensor, cos: Tensor, sin: Tensor, bias: Tensor, slots: Tensor, caches: list[Tensor]) -> Tensor:
        """Run the layers over x [B, S, hidden] and write their keys and values at slots [S] of the caches; -> last position [B, hidden].

        angle int32 [B, S], rows of the tables cos and sin [positions + 1, head_dim / 2]; bias float32 [B or 1, 1, S, capacity];
        caches: keys [B, heads, head_dim, capacity] and values [B, heads, capacity, head_dim] of each layer by turns, replaced here.
        """
        turn = tuple(torch.cat([F.embedding(angle, table)] * 2, dim=-1)[:, :, None] for table in (cos, sin))  # each [B, S, 1, head_dim]
        layers = cast(list[DecoderLayer], list(self.network.gazing_model.gaze_decoder.model.layers))
        normed = fused.rms_norm(x, layers[0].input_layernorm)
        for number, layer in enumerate(layers):
            last = number == len(layers) - 1
            query, keys, values = attention_inputs(layer, normed, turn, slots, caches[2 * number], caches[2 * number + 1])
            caches[2 * number : 2 * number + 2] = keys, values
            if last:  # only the last position is asked for, and nothing comes after it
                query, bias, x = query[:, -1:], bias[:, :, -1:], x[:, -1:]
            attend = fused.attend_many if query.shape[1] > self.config.slots else fused.attend
            mixed = F.linear(attend(query, keys, values, bias), layer.self_attn.o_proj.weight)
            x, normed = fused.skip_rms_norm(x, mixed, layer.post_attention_layernorm)
            after = self.network.gazing_model.gaze_decoder.model.norm if last else layers[number + 1].input_layernorm
            x, normed = fused.skip_rms_norm(x, swiglu(layer, normed), after)
        return normed[:, -1]

    def choose(
        self, hidden: Tensor, emitted: Tensor, finished: Tensor, remaining: Tensor, threshold: Tensor, first: bool
    ) -> tuple[Choice, Tensor, Tensor, Tensor, Tensor]:
        """The block that follows `hidden` [B, hidden] (semantics §4.2–4.4).

        emitted float32 [B, cells], 1 where the frame has a cell already; finished float32 [B, 1]; remaining int32 [1], the slots
        that the budget still allows; threshold float32 [1] -> choice, emitted, finished, remaining, stop int32 [1].
        """
        config, decoder = self.config, self.network.gazing_model.gaze_decoder
        logits = F.linear(hidden, decoder.lm_head.weight).unflatten(-1, (config.slots, config.vocab))
        task_loss = F.linear(hidden, decoder.task_loss_prediction_head.weight)  # [B, slots]
        chosen = self.greedy(logits, emitted)  # one-hot [B, slots, cells]
        ids = (chosen * self.cell_ids[:-1]).sum(-1)
        probs = (chosen * logits.softmax(-1)[..., :-1]).sum(-1)
        slot = torch.arange(config.slots, dtype=torch.int32, device=hidden.device)
        exists = (slot < remaining).float()
        stopped = (task_loss <= threshold).float() * exists
        if first:
            stopped = stopped * (slot > 0).float()  # every frame looks at one cell at least
        valid = exists * (1 - stopped) * (1 - finished)
        ids = ids * valid + config.eos_token * (1 - valid)
        emitted = emitted + (chosen * valid[..., None]).sum(1)
        finished = torch.maximum(finished, stopped.amax(1, keepdim=True))
        remaining = remaining - config.slots
        stop = torch.maximum(finished.amin(0), (remaining < 1).float())
        return Choice(ids.int(), valid.int(), probs, task_loss), emitted, finished, remaining, stop.int()

    def greedy(self, logits: Tensor, emitted: Tensor) -> Tensor:
        """Slot by slot the best id that neither the frame nor an earlier slot has; -> one-hot float32 [B, slots, cells].

        logits [B, slots, vocab], the end token last. ArgMax gives the lowest id of equals. Its result is used as an index only: it
        marks the id in `penalty` with the code of the slot, so that no 64-bit integer leaves the graph.
        """
        penalty = torch.cat([emitted * FORBIDDEN, torch.full_like(emitted[:, :1], FORBIDDEN)], dim=1)[:, None]  # [B, 1, vocab]
        codes = (torch.zeros_like(logits[:, :, 0]) + self.slot_codes)[..., None]  # [B, slots, 1]
        for slot, code in zip(each_slot(logits), each_slot(codes), strict=True):
            best = (slot + penalty).argmax(-1, keepdim=True)
            penalty = penalty.scatter(2, best, code)
        return (penalty[..., :-1] == self.slot_codes[:, None]).float()


def each_slot(x: Tensor) -> Iterator[Tensor]:
    """x [B, slots, …] -> slots times [B, 1, …]; by fives, because a device may bind no more than eight buffers to a kernel."""
    for five in x.split(5, dim=1):
        yield from five.split(1, dim=1)


class StepFirst(Step):
    """A frame's first block."""

    def forward(
        self,
        vision: Tensor,  # float32 [batch, vision_tokens, hidden]
        block_ids: Tensor,  # int32 [batch, slots]: the last block of the frame before; the end token, not valid, before frame 0
        block_valid: Tensor,  # int32 [batch, slots]
        cos: Tensor,  # float32 [positions, head_dim / 2]: row n is the angle of position n - 1
        sin: Tensor,
        slot_index: Tensor,  # float32 [capacity]: 0, 1, 2 …
        key_valid: Tensor,  # float32 [batch, capacity]: 1 for the slots whose tokens may be keys of later frames; in place
        count: Tensor,  # int32 [batch, 1]: tokens fed so far that may be keys
        slot: Tensor,  # int32 [1]: the next free slot of the caches
        remaining: Tensor,  # int32 [1]: the frame's budget
        threshold: Tensor,  # float32 [1]: the task loss at which to stop
        caches: list[Tensor],
    ) -> tuple[Tensor, ...]:
        fed = torch.cat([block_valid, torch.ones_like(vision[:, :, 0]).int()], dim=1)  # [B, S]
        embeds = torch.cat([self.network.gazing_model.gaze_decoder.model.embed_tokens(block_ids), vision], dim=1)
        angle = count + fed.cumsum(1, dtype=torch.int32)  # a running count is a position + 1
        count = count + fed.sum(1, keepdim=True, dtype=torch.int32)
        slots = slot + torch.arange(fed.shape[1], dtype=torch.int32, device=slot.device)
        key_valid = fused.write_slots(key_valid, fed.float(), slots, axis=1)
        bias = ((key_valid - 1) * -HIDDEN)[:, None, None] + causal_bias(slots, slot_index)
        hidden = self.decode(embeds, angle, cos, sin, bias, slots, caches)
        # None yet; computed, because a Scatter into a constant is a copy, which a recorded run forgets (web/worker/recordings.js).
        emitted = (hidden[:, :1] * 0).expand(-1, self.config.vocab - 1)
        choice, emitted, finished, remaining, stop = self.choose(
            hidden, emitted, torch.zeros_like(embeds[:, 0, :1]), remaining, threshold, first=True
        )
        slot = slot + fed.shape[1]
        # This frame's blocks take the positions of its last vision tokens, beginning at row `anchor`; their slots begin at `frame_slot`.
        anchor, frame_slot = count + (1 - self.config.slots), slot.float()
        return (*choice, stop, emitted, finished, remaining, count, anchor, slot, frame_slot, key_valid, *caches)


class StepNext(Step):
    """A later block of the same frame."""

    def forward(
        self,
        block_ids: Tensor,
        block_valid: Tensor,
        emitted: Tensor,  # float32 [batch, cells]
        finished: Tensor,  # float32 [batch, 1]
        remaining: Tensor,
        count: Tensor,
        anchor: Tensor,  # int32 [batch, 1]: the row of cos and sin of a block's first token
        slot: Tensor,
        frame_slot: Tensor,  # float32 [1]: the first slot of this frame's blocks
        cos: Tensor,
        sin: Tensor,
        slot_index: Tensor,
        key_valid: Tensor,
        threshold: Tensor,
        caches: list[Tensor],
    ) -> tuple[Tensor, ...]:
        embeds = self.network.gazing_model.gaze_decoder.model.embed_tokens(block_ids)
        offsets = torch.arange(self.config.slots, dtype=torch.int32, device=slot.device)
        angle = anchor + offsets  # the positions of the last ten vision tokens, in every block
        slots = slot + offsets
        key_valid = fused.write_slots(key_valid, block_valid.float(), slots, axis=1)
        # Within its frame every slot is a key, padded or not: upstream masks padding only from the next frame on.
        current = (slot_index - frame_slot + 1).clamp(0, 1)
        bias = ((torch.maximum(key_valid, current) - 1) * -HIDDEN)[:, None, None] + causal_bias(slots, slot_index)
        hidden = self.decode(embeds, angle, cos, sin, bias, slots, caches)
        choice, emitted, finished, remaining, stop = self.choose(hidden, emitted, finished, remaining, threshold, first=False)
        count = count + block_valid.sum(1, keepdim=True, dtype=torch.int32)
        slot = slot + self.config.slots
        return (*choice, stop, emitted, finished, remaining, count, slot, key_valid, *caches)


def attention_inputs(
    layer: DecoderLayer, normed: Tensor, turn: tuple[Tensor, ...], slots: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Query [B, S, heads · head_dim], and the caches with the new keys and values written at `slots`."""
    attention = layer.self_attn
    packed = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])  # folded when the graph is loaded
    qkv = F.linear(normed, packed).unflatten(-1, (3 * attention.heads, attention.head_dim))  # [B, S, 3 · heads, head_dim]
    cos, sin = turn
    qk, value = qkv.split([2 * attention.heads, attention.heads], dim=2)
    first, second = qk.chunk(2, dim=-1)
    qk = qk * cos + torch.cat([-second, first], dim=-1) * sin
    query, key = qk.chunk(2, dim=2)
    keys = fused.write_slots(keys, key.permute(0, 2, 3, 1), slots, axis=3)
    values = fused.write_slots(values, value.transpose(1, 2), slots, axis=2)
    return query.flatten(2), keys, values


def swiglu(layer: DecoderLayer, x: Tensor) -> Tensor:
    packed = torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight])
    gate, up = F.linear(x, packed).chunk(2, dim=-1)
    return F.linear(fused.silu(gate) * up, layer.mlp.down_proj.weight)


def causal_bias(slots: Tensor, slot_index: Tensor) -> Tensor:
    """0 where the key's slot is not after the query's, else HIDDEN: [S, capacity]. Slots never written lie after every query."""
    ahead = (slot_index - slots.float()[:, None]).clamp(0, 1)
    return ahead * HIDDEN
