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


class Progress(NamedTuple):
    """How far a frame is."""

    emitted: Tensor  # float32 [batch, vocab], 1 for the ids that the frame has already, and for the end token
    active: Tensor  # float32 [batch, 1], 1 until a row has stopped
    remaining: Tensor  # float32 [1]: slots that the budget still allows


class Choice(NamedTuple):
    """The block that a run chose; all [batch, slots]."""

    ids: Tensor  # int32, the end token where not valid
    valid: Tensor  # int32, 1 or 0
    probs: Tensor  # float32, of the chosen id in the whole vocabulary
    task_loss: Tensor  # float32, the predicted loss of the frame before the slot's token is added


class Step(nn.Module):
    """What both graphs share: the decoder over a cache of fixed capacity, and the choice of a block."""

    ids_after_end: Tensor  # float32 [vocab, 1]: an id less the end token's, so that nothing chosen gives the end token
    end_only: Tensor  # float32 [1, vocab]
    first_slot: Tensor  # float32 [slots]
    slot_codes: Tensor  # float32 [slots, 1]
    half_turn: Tensor  # float32 [head_dim, head_dim]: x @ half_turn is [-second half, first half] of x

    def __init__(self, network: AutoGaze) -> None:
        super().__init__()
        self.network, self.config = network, network.config
        vocab, end, slots, half = self.config.vocab, self.config.eos_token, self.config.slots, self.config.head_dim // 2
        half_turn = torch.zeros(2 * half, 2 * half)
        half_turn[half:, :half], half_turn[:half, half:] = -torch.eye(half), torch.eye(half)
        for name, constant in {
            "ids_after_end": torch.arange(vocab, dtype=torch.float32)[:, None] - end,
            "end_only": (torch.arange(vocab) == end).float()[None],
            "first_slot": (torch.arange(slots) == 0).float(),
            "slot_codes": FORBIDDEN * torch.arange(2, 2 + slots, dtype=torch.float32)[:, None],
            "half_turn": half_turn,
        }.items():
            self.register_buffer(name, constant, persistent=False)

    def decode(self, x: Tensor, angle: Tensor, cos: Tensor, sin: Tensor, bias: Tensor, slots: Tensor, caches: list[Tensor]) -> Tensor:
        """Run the layers over x [B, S, hidden] and write their keys and values at slots [S] of the caches; -> last position [B, hidden].

        angle int32 [B, S], rows of the tables cos and sin [positions + 1, head_dim / 2]; bias float32 [B or 1, 1, S, capacity];
        caches: keys [B, heads, head_dim, capacity] and values [B, heads, capacity, head_dim] of each layer by turns, replaced here.
        """
        turn = tuple(torch.cat([F.embedding(angle, table)] * 2, dim=-1)[:, None] for table in (cos, sin))  # each [B, 1, S, head_dim]
        layers = cast(list[DecoderLayer], list(self.network.gazing_model.gaze_decoder.model.layers))
        normed = fused.rms_norm(x, layers[0].input_layernorm)
        for number, layer in enumerate(layers):
            last = number == len(layers) - 1
            query, keys, values = self.attention_inputs(layer, normed, turn, slots, caches[2 * number], caches[2 * number + 1])
            caches[2 * number : 2 * number + 2] = keys, values
            if last:  # only the last position is asked for, and nothing comes after it
                query, bias, x = query[:, :, -1:], bias[:, :, -1:], x[:, -1:]
            attend = fused.attend_many if query.shape[2] > self.config.slots else fused.attend
            mixed = F.linear(attend(query, keys, values, bias), layer.self_attn.o_proj.weight)
            x, normed = fused.skip_rms_norm(x, mixed, layer.post_attention_layernorm)
            after = self.network.gazing_model.gaze_decoder.model.norm if last else layers[number + 1].input_layernorm
            x, normed = fused.skip_rms_norm(x, swiglu(layer, normed), after)
        return normed[:, -1]

    def attention_inputs(
        self, layer: DecoderLayer, normed: Tensor, turn: tuple[Tensor, ...], slots: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query [B, heads, S, head_dim], scaled, and the caches with the new keys and values written at `slots`."""
        attention = layer.self_attn
        scaled = attention.q_proj.weight * attention.head_dim**-0.5
        packed = torch.cat([scaled, attention.k_proj.weight, attention.v_proj.weight])  # folded when the graph is loaded
        qkv = (
            F.linear(normed, packed).unflatten(-1, (3 * attention.heads, attention.head_dim)).transpose(1, 2)
        )  # [B, 3 · heads, S, head_dim]
        cos, sin = turn
        qk, value = qkv.split([2 * attention.heads, attention.heads], dim=1)
        qk = qk * cos + (qk @ self.half_turn) * sin
        query, key = qk.chunk(2, dim=1)
        keys = fused.write_slots(keys, key.transpose(2, 3), slots, axis=3)
        values = fused.write_slots(values, value, slots, axis=2)
        return query, keys, values

    def choose(self, hidden: Tensor, so_far: Progress, threshold: Tensor, first: bool) -> tuple[Choice, Progress, Tensor]:
        """The block that follows `hidden` [B, hidden] (semantics §4.2–4.4).

        threshold float32 [1] -> choice, progress, stop int32 [1]: every row has stopped, or the budget is used up.
        """
        config, decoder = self.config, self.network.gazing_model.gaze_decoder
        logits = F.linear(hidden, decoder.lm_head.weight).unflatten(-1, (config.slots, config.vocab))
        task_loss = F.linear(hidden, decoder.task_loss_prediction_head.weight)  # [B, slots]
        chosen = self.greedy(logits, so_far.emitted)  # one-hot [B, slots, vocab]
        probs = (chosen * logits.softmax(-1)).sum(-1)
        exists = (so_far.remaining - torch.arange(config.slots, dtype=torch.float32, device=hidden.device)).clamp(0, 1)
        goes_on = (task_loss > threshold).float()
        if first:
            goes_on = torch.maximum(goes_on, self.first_slot)  # every frame looks at one cell at least
        valid = goes_on * exists * so_far.active
        picked = chosen * valid[..., None]
        ids = (picked @ self.ids_after_end)[..., 0] + config.eos_token
        emitted = so_far.emitted + picked.sum(1)
        active = so_far.active * goes_on.amin(1, keepdim=True)
        remaining = so_far.remaining - config.slots
        stop = 1 - active.amax(0) * remaining.clamp(0, 1)
        return Choice(ids.int(), valid.int(), probs, task_loss), Progress(emitted, active, remaining), stop.int()

    def greedy(self, logits: Tensor, emitted: Tensor) -> Tensor:
        """Slot by slot the best id that neither the frame nor an earlier slot has; -> one-hot float32 [B, slots, vocab].

        logits [B, slots, vocab], the end token last. ArgMax gives the lowest id of equals. Its result is used as an index only: it
        marks the id in `penalty` with the code of the slot, so that no 64-bit integer leaves the graph.
        """
        penalty = (emitted * FORBIDDEN)[:, None]  # [B, 1, vocab]
        for slot, code in zip(each_slot(logits), self.slot_codes, strict=True):
            best = (slot + penalty).argmax(-1, keepdim=True)
            penalty = penalty.scatter(2, best, code.expand(logits.shape[0], 1)[:, None])
        return (penalty == self.slot_codes).float()


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
        remaining: Tensor,  # float32 [1]: the frame's budget
        threshold: Tensor,  # float32 [1]: the task loss at which to stop
        caches: list[Tensor],
    ) -> tuple[Tensor, ...]:
        fed = torch.cat([block_valid, torch.ones_like(vision[:, :, 0]).int()], dim=1)  # [B, S]
        embeds = torch.cat([self.network.gazing_model.gaze_decoder.model.embed_tokens(block_ids), vision], dim=1)
        angle = count + fed.cumsum(1, dtype=torch.int32)  # a running count is a position + 1
        count = count + fed.sum(1, keepdim=True, dtype=torch.int32)
        slots = slot + torch.arange(fed.shape[1], dtype=torch.int32, device=slot.device)
        key_valid = fused.write_slots(key_valid, fed.float(), slots, axis=1)
        bias = hidden_bias(key_valid, slots, slot_index)
        hidden = self.decode(embeds, angle, cos, sin, bias, slots, caches)
        # Nothing is emitted yet. Computed, because a Scatter into a constant is a copy, which a recorded run forgets
        # (web/worker/recordings.js).
        nothing = hidden[:, :1] * 0
        so_far = Progress(nothing + self.end_only, nothing + 1, remaining)
        choice, progress, stop = self.choose(hidden, so_far, threshold, first=True)
        slot = slot + fed.shape[1]
        # This frame's blocks take the positions of its last vision tokens, beginning at row `anchor`; their slots come after `frame_slot`.
        anchor, frame_slot = count + (1 - self.config.slots), slot.float() - 1
        return (*choice, stop, *progress, count, anchor, slot, frame_slot, key_valid, *caches)


class StepNext(Step):
    """A later block of the same frame."""

    def forward(
        self,
        block_ids: Tensor,
        block_valid: Tensor,
        emitted: Tensor,  # as Progress
        active: Tensor,
        remaining: Tensor,
        count: Tensor,
        anchor: Tensor,  # int32 [batch, 1]: the row of cos and sin of a block's first token
        slot: Tensor,
        frame_slot: Tensor,  # float32 [1]: the slot before this frame's blocks
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
        current = (slot_index - frame_slot).clamp(0, 1)
        bias = hidden_bias(torch.maximum(key_valid, current), slots, slot_index)
        hidden = self.decode(embeds, angle, cos, sin, bias, slots, caches)
        choice, progress, stop = self.choose(hidden, Progress(emitted, active, remaining), threshold, first=False)
        count = count + block_valid.sum(1, keepdim=True, dtype=torch.int32)
        slot = slot + self.config.slots
        return (*choice, stop, *progress, count, slot, key_valid, *caches)


def swiglu(layer: DecoderLayer, x: Tensor) -> Tensor:
    packed = torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight])
    gate, up = F.linear(x, packed).chunk(2, dim=-1)
    return F.linear(fused.silu(gate) * up, layer.mlp.down_proj.weight)


def hidden_bias(key_valid: Tensor, slots: Tensor, slot_index: Tensor) -> Tensor:
    """0 where a key may be seen, multiples of HIDDEN where not: [B, 1, S, capacity]. Slots never written lie after every query."""
    ahead = (slot_index - slots.float()[:, None]).clamp(0, 1)  # [S, capacity]: 1 where the key's slot is after the query's
    return (key_valid[:, None, None] - ahead - 1) * -HIDDEN
