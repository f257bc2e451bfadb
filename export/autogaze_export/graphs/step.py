"""`step`: new tokens + KV cache -> the next ten gaze tokens, chosen and checked against the stop rules on the device.

One module becomes two graphs: `step_first` feeds the last block of the frame before and this frame's vision tokens, `step_next` feeds
the block chosen a moment ago. Everything that a later run needs leaves as `next.NAME` and enters as `NAME`, so that a frame can begin
before the numbers of the frame before are read; caches and `key_valid` are written in place, and what lies in them from `slots` on never
matters, so that a state can be gone back to.

A node is a dispatch on a GPU, whose price is JavaScript's: what several blocks or layers need is made once. Constants and packed
weights are folded when a session is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze_export.graphs import fused
from autogaze_export.model import AutoGaze, DecoderLayer, SelfAttention
from autogaze_web.decode import ENDED, FORBIDDEN, SLOT

HIDDEN = -1e30  # added to the score of a key that must not be seen


class Choice(NamedTuple):
    """The block that a run chose; all [batch, slots], and what follows from it."""

    ids: Tensor  # int32, the end token where not valid
    valid: Tensor  # float32, 1 or 0
    probs: Tensor  # float32, of the chosen id in the whole vocabulary
    task_loss: Tensor  # float32, the predicted loss of the frame before the slot's token is added
    stop: Tensor  # float32 [1], 0 until every row has stopped or the budget is used up
    penalty: Tensor  # as the input
    shut: Tensor  # as the input


class Step(nn.Module):
    """What both graphs share: the decoder over a cache of fixed capacity, and the choice of a block."""

    past_end: Tensor  # float32 [vocab, 1]: an id less the end token's, so that nothing chosen gives the end token
    end_only: Tensor  # float32 [vocab]
    codes: Tensor  # float32 [slots, 1]: what marks the id that a slot chose
    reopening: Tensor  # float32 [slots, slots]

    def __init__(self, network: AutoGaze) -> None:
        super().__init__()
        self.network, self.config = network, network.config
        vocab, slots, end = self.config.vocab, self.config.slots, self.config.eos_token
        for name, constant in {
            "past_end": torch.arange(vocab, dtype=torch.float32)[:, None] - end,
            "end_only": (torch.arange(vocab) == end).float(),
            "codes": FORBIDDEN * torch.arange(2, 2 + slots, dtype=torch.float32)[:, None],
            "reopening": torch.full((slots, slots), -ENDED),
        }.items():
            self.register_buffer(name, constant, persistent=False)

    def decode(self, x: Tensor, angle: Tensor, cos: Tensor, sin: Tensor, bias: Tensor, slots: Tensor, caches: list[Tensor]) -> Tensor:
        """Run the layers over x [B, S, hidden], write keys and values at slots [B or 1, S] of the caches; -> last position [B, hidden].

        angle float32 [B, S], rows of the tables cos and sin [positions + 1, head_dim]; bias float32 [B, 1, S, capacity]; caches: keys
        and values [B, heads, capacity, head_dim] of each layer by turns, replaced here.
        """
        layers = cast(list[DecoderLayer], list(self.network.gazing_model.gaze_decoder.model.layers))
        positions = angle.long()  # the one int64 that is computed: RotaryEmbedding wants it, and a GPU casts it from float32
        places = (x.shape[0], self.config.heads, x.shape[1], self.config.head_dim)
        index = slots[:, None, :, None].expand(places)
        normed = fused.rms_norm(x, layers[0].input_layernorm)
        for number, layer in enumerate(layers):
            attention, last = layer.self_attn, number == len(layers) - 1
            qkv = normed[:, None] @ packed(attention)  # [B, heads, S, 3 · head_dim]
            query, key, value = fused.turn_pairs(qkv, positions, cos, sin, 2 * attention.head_dim).split(attention.head_dim, dim=-1)
            keys = fused.write_slots(caches[2 * number], key, index, axis=2)
            values = fused.write_slots(caches[2 * number + 1], value, index, axis=2)
            caches[2 * number : 2 * number + 2] = keys, values
            if last:  # only the last position is asked for, and nothing comes after it; of one ONNX Runtime would make three kernels
                query, bias, x = query[:, :, -2:], bias[:, :, -2:], x[:, -2:]
            mixed = F.linear(fused.attend(query, keys, values, bias), attention.o_proj.weight)
            x, normed = fused.skip_rms_norm(x, mixed, layer.post_attention_layernorm)
            after = self.network.gazing_model.gaze_decoder.model.norm if last else layers[number + 1].input_layernorm
            x, normed = fused.skip_rms_norm(x, swiglu(layer, normed), after)
        return normed[:, -1]

    def choose(self, state: Tensor, chosen_from: Tensor, penalty: Tensor, bar: Tensor, shut: Tensor, rows: Tensor) -> Choice:
        """The block that follows `state` [B, hidden] (semantics §4.2-4.4).

        chosen_from and penalty float32 [B, vocab], FORBIDDEN where an id must not be chosen in this frame: the former a tensor of the
        graph's own, which is written to; bar float32 [B or 1, slots], what a task loss must be above to open the slot;
        shut float32 [B or 1, slots], which will be above 0 for the slots of a row that has stopped and those past the budget once
        ENDED is taken away for each slot that is valid; rows float32 [B, B · slots], 1 where a slot is of the row.
        """
        config, decoder = self.config, self.network.gazing_model.gaze_decoder
        logits = F.linear(state, decoder.lm_head.weight).unflatten(-1, (config.slots, config.vocab))
        task_loss = F.linear(state, decoder.task_loss_prediction_head.weight)  # [B, slots]
        chosen = self.greedy(logits, chosen_from)  # bool [B, slots, vocab]
        probs = torch.where(chosen, logits.softmax(-1), 0.0).sum(-1)
        valid = (task_loss > bar).float()
        picked = torch.where(chosen, valid[..., None], 0.0).flatten(0, 1)  # one-hot [B · slots, vocab], all 0 where not valid
        ids = fused.gemm(picked, self.past_end, torch.full_like(self.past_end[:1, 0], config.eos_token)).view(-1, config.slots)
        penalty = fused.gemm(rows, picked, penalty, alpha=FORBIDDEN)
        shut = fused.gemm(valid, self.reopening, shut)
        stop = shut.flatten().amin(0, keepdim=True).relu()
        return Choice(ids.int(), valid, probs, task_loss, stop, penalty, shut)

    def greedy(self, logits: Tensor, penalty: Tensor) -> Tensor:
        """Slot by slot the best id that neither the frame nor an earlier slot has; -> bool [B, slots, vocab].

        logits [B, slots, vocab]; penalty [B, vocab]. ArgMax gives the lowest id of equals. Its result is used as an index only: it
        marks the id in `penalty` with the code of the slot, so that no 64-bit integer leaves the graph.
        """
        marked = penalty[:, None]
        for slot, code in zip(each_slot(logits), self.codes.flatten().tolist(), strict=True):
            best = (slot + marked).argmax(-1, keepdim=True)
            marked = marked.scatter(2, best, torch.full_like(slot[..., :1], code))
        return marked == self.codes


def each_slot(x: Tensor) -> Iterator[Tensor]:
    """x [B, slots, …] -> slots times [B, 1, …], because a device may bind no more than eight buffers to a kernel."""
    while x.shape[1] > 7:
        *six, x = x.split([*[1] * 6, x.shape[1] - 6], dim=1)
        yield from six
    yield from x.split(1, dim=1)


class StepFirst(Step):
    """A frame's first block."""

    last: Tensor  # int32 [1]: the last slot of a block
    after_last: Tensor  # int32 [slots + vision_tokens]: how far a token is behind the last of the block
    opening: Tensor  # float32 [2 · slots + 1, slots + vision_tokens]
    opening_base: Tensor  # float32 [slots + vision_tokens]

    def __init__(self, network: AutoGaze) -> None:
        super().__init__(network)
        slots, fed = self.config.slots, self.config.slots + self.config.connector_tokens
        token = torch.arange(fed)
        # A token's row of cos and sin is the number of tokens up to it that are not padding. Those up to the last vision token of
        # the frame before are the last `angle`; each block since has forbidden one id for each of its tokens; and of the block fed
        # now, those behind a token do not count for it.
        behind = (token[:slots, None] > token).float()
        angles = (token[:slots, None] == slots - 1).float().expand(-1, fed)
        for name, constant in {
            "last": torch.tensor([slots - 1], dtype=torch.int32),
            "after_last": (token - (slots - 1)).int(),
            "opening": torch.cat([-behind, angles, torch.full((1, fed), 1 / FORBIDDEN)]),
            "opening_base": (token - slots).clamp(min=-1).float(),  # the end token is forbidden too
        }.items():
            self.register_buffer(name, constant, persistent=False)

    def forward(
        self,
        vision: Tensor,  # float32 [batch, vision_tokens, hidden]
        block_ids: Tensor,  # int32 [batch, slots]: the last block of the frame before; the end token, not valid, before frame 0
        block_valid: Tensor,  # float32 [batch, slots]
        penalty: Tensor,  # float32 [batch, vocab]: FORBIDDEN for each id that the frame before has, and for the end token
        angle: Tensor,  # float32 [batch, slots]: the rows of cos and sin of the last vision tokens of the frame before; 0 before frame 0
        slots: Tensor,  # int32 [batch, slots]: where the block goes in the caches
        cos: Tensor,  # float32 [positions, head_dim]: row n is the angle of position n - 1, once for the query and once for the key
        sin: Tensor,
        slot_index: Tensor,  # int32 [capacity]: 0, 1, 2 …
        rows: Tensor,  # float32 [batch, batch · slots]: 1 where a slot of a block is of the row
        key_valid: Tensor,  # float32 [batch, capacity]: 1 for the slots whose tokens may be keys of later frames; in place
        first_bar: Tensor,  # float32 [slots]: SLOT · (n + ½ - budget), or the task loss at which to stop, where that is greater
        first_shut: Tensor,  # float32 [1, slots]: SLOT · (n + ½ - budget) + slots · (SLOT + ENDED)
        caches: list[Tensor],
    ) -> tuple[Tensor, ...]:
        config, batch = self.config, vision.shape[0]
        x = torch.cat([self.network.gazing_model.gaze_decoder.model.embed_tokens(block_ids), vision], dim=1)
        angles = fused.gemm(torch.cat([block_valid, angle, penalty.sum(1, keepdim=True)], dim=1), self.opening, self.opening_base)
        last = fused.take(slots.flatten(), self.last, axis=0)  # [1], the same in all rows
        places = (last + self.after_last)[None]  # [1, S]
        flags = torch.cat([block_valid, torch.ones_like(vision[:, :, 0])], dim=1)  # [B, S]
        key_valid = fused.write_slots(key_valid, flags, places.expand(batch, -1), axis=1)
        # Within its frame every slot is a key, padded or not: upstream masks padding only from the next frame on.
        hidden = torch.where(slot_index <= last, (key_valid - 1) * -HIDDEN, 0.0)  # [B, capacity]
        state = self.decode(x, angles, cos, sin, causal(hidden, slot_index, places), places, caches)
        nothing = penalty * self.end_only
        choice = self.choose(state, nothing, FORBIDDEN * self.end_only, first_bar, first_shut, rows)
        # This frame's blocks take the positions of its last vision tokens.
        return (*choice, slots + angles.shape[1], angles[:, -config.slots :], hidden, key_valid, *caches)


class StepNext(Step):
    """A later block of the same frame."""

    def forward(
        self,
        block_ids: Tensor,
        block_valid: Tensor,
        penalty: Tensor,  # of this frame
        angle: Tensor,  # the rows of cos and sin of this block, as of every block of the frame
        slots: Tensor,
        cos: Tensor,
        sin: Tensor,
        slot_index: Tensor,
        rows: Tensor,
        key_valid: Tensor,
        hidden: Tensor,  # float32 [batch, capacity]: HIDDEN for the slots of frames before that are padding, else 0
        shut: Tensor,  # float32 [batch, slots]: above 0 for the slots of a row that has stopped and those past the budget
        threshold: Tensor,  # float32 [1]: the task loss at which to stop
        caches: list[Tensor],
    ) -> tuple[Tensor, ...]:
        x = self.network.gazing_model.gaze_decoder.model.embed_tokens(block_ids)
        key_valid = fused.write_slots(key_valid, block_valid, slots, axis=1)
        state = self.decode(x, angle, cos, sin, causal(hidden, slot_index, slots), slots, caches)
        # The same numbers as `penalty`, in a tensor of the graph's own: a Scatter into an input is a copy, which a recorded run
        # forgets (web/worker/recordings.js).
        so_far = penalty.clamp(max=0)
        bar, ten_on = torch.maximum(threshold, shut), shut + self.config.slots * (ENDED + SLOT)
        choice = self.choose(state, so_far, penalty, bar, ten_on, rows)
        return (*choice, slots + self.config.slots, key_valid, *caches)


def causal(hidden: Tensor, slot_index: Tensor, slots: Tensor) -> Tensor:
    """HIDDEN for keys that a token at `slots` [B or 1, S] must not see, else 0: [B, 1, S, capacity]. Slots never written lie behind."""
    return torch.where(slot_index <= slots[:, None, :, None], hidden[:, None, None], HIDDEN)


def packed(attention: SelfAttention) -> Tensor:
    """The weights of a layer's query, key and value: [heads, hidden, 3 · head_dim], folded when the graph is loaded.

    Queries are scaled by 1 / sqrt(head_dim). The channels that rotate together, of the two halves of a head, come side by side, so that
    one rotation turns queries and keys and leaves the values behind them as they are.
    """

    def by_head(weight: Tensor) -> Tensor:
        return weight.view(attention.heads, attention.head_dim, -1)

    def in_pairs(weight: Tensor) -> Tensor:
        return weight.view(attention.heads, 2, attention.head_dim // 2, -1).transpose(1, 2).reshape(attention.heads, attention.head_dim, -1)

    query = in_pairs(attention.q_proj.weight) * attention.head_dim**-0.5
    weights = [query, in_pairs(attention.k_proj.weight), by_head(attention.v_proj.weight)]
    return torch.cat(weights, dim=1).transpose(1, 2)


def swiglu(layer: DecoderLayer, x: Tensor) -> Tensor:
    both = torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight])
    gate, up = F.linear(x, both).chunk(2, dim=-1)
    return F.linear(fused.silu(gate) * up, layer.mlp.down_proj.weight)
