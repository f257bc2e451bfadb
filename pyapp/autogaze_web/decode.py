"""The decoding loop of one batch of tiles: which frame sees which caches, and what comes out of it (SEMANTICS §4).

Everything that is large stays in the runtime. A frame is one call of `encode` and one loop of `step_first` and `step_next`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autogaze_web.config import ModelConfig
from autogaze_web.rotary import rotary_tables
from autogaze_web.runtime import HostTensor, Limits, Runtime, Tensor, floats, ints

NEVER = -3e38  # a task loss that no prediction is at or below; finite, because shaders may take infinities for impossible
FORBIDDEN = -(2.0**30)  # added to the logit of an id that must not be chosen; multiples of it mark the slot that chose the id
SLOT = 2.0**80  # a slot's distance to the budget, in units that no task loss reaches
ENDED = 2.0**16 * SLOT  # what a slot that is not valid adds to it: more than any budget, and still exact beside half a SLOT
RUN = 64  # slots whose values attention sums at a time; capacities are multiples
CAPACITY_STEP = 256  # slots by which the caches grow; attention costs what the capacity is, and growing copies the caches
NEAR_PARTS = 4  # of a window, by which a frame's first block sees more of the caches
POSITIONS_STEP = 2048  # rows by which the tables of angles grow
COLLECTED = ("block_ids", "block_valid", "probs", "task_loss")
FLAGS = ("key_valid", "hidden")  # of the state: one a slot of the caches, and grows with them
BETWEEN_FRAMES = ("past", "block_ids", "block_valid", "penalty", "angle", "slots", *FLAGS)  # of the state; the rest belongs to a frame


def tile_batch(config: ModelConfig, budgets: Sequence[int], tiles: int, limits: Limits) -> int:
    """Tiles to decode together so that caches and attention stay within the limits; ids do not depend on it.

    budgets: of the frames of a window. At most two capacities of caches are held (while they grow), and three times a first block's
    scores, which a device that takes whole windows never has as a whole (its attention goes piece by piece); its caches are counted as
    frames that stop early fill them.
    """
    blocks = [-(budget // -config.slots) for budget in budgets]
    most = sum(config.connector_tokens + count * config.slots for count in blocks)
    mostly = len(budgets) * (config.connector_tokens + config.slots)
    width = config.heads * config.head_dim
    scores = 0 if limits.whole_windows else 3 * config.heads * (config.connector_tokens + config.slots)
    each = 4 * (mostly if limits.whole_windows else most) * (2 * 2 * config.layers * width + scores)
    return max(1, min(tiles, limits.memory // each, limits.tensor // (4 * width * most)))


class FrameGaze(NamedTuple):
    """What every tile of a batch looks at in one frame; each a list a tile, of the same number of slots."""

    ids: list[list[int]]  # ids within the frame, in the order chosen; the end token where not valid
    valid: list[list[bool]]
    probs: list[list[float]]  # of the chosen id in the whole vocabulary
    task_loss: list[list[float]]  # predicted before the slot's token is added; one a slot of the blocks, so past the budget too

    @property
    def slots(self) -> int:
        """num_gazing_each_frame of this frame."""
        return len(self.ids[0])

    def cells(self, tile: int) -> list[int]:
        """The valid ids of a tile."""
        return [token for token, valid in zip(self.ids[tile], self.valid[tile], strict=True) if valid]


@dataclass
class Shared:
    """What all batches of a run take, and what depends on the capacity only."""

    runtime: Runtime
    config: ModelConfig
    capacity_step: int = CAPACITY_STEP

    def __post_init__(self) -> None:
        self.positions = 0
        self.tables: dict[str, Tensor] = {}
        self.slot_indices: dict[int, Tensor] = {}  # by how many
        self.outgrown: list[Tensor] = []  # which a run may still be using

    def slots(self, count: int) -> Tensor:
        """0, 1, 2 … of so many slots."""
        if count not in self.slot_indices:
            self.slot_indices[count] = self.runtime.upload(ints(range(count)))
        return self.slot_indices[count]

    def reach(self, capacity: int) -> dict[str, Tensor]:
        """cos, sin and slot_index for a capacity."""
        if self.positions <= capacity:  # no more tokens than slots, so no position past the capacity
            self.positions = (capacity // POSITIONS_STEP + 1) * POSITIONS_STEP
            self.outgrown += self.tables.values()
            cos, sin = rotary_tables(self.config, self.positions)
            self.tables = {"cos": self.runtime.upload(cos), "sin": self.runtime.upload(sin)}
        return self.tables | {"slot_index": self.slots(capacity)}

    def keep(self, counts: set[int]) -> None:
        """Give back what nobody needs who counts so many slots; while nothing else is running."""
        gone = [self.slot_indices.pop(count) for count in list(self.slot_indices) if count not in counts]
        self.runtime.release([*self.outgrown, *gone])
        self.outgrown = []

    def release(self) -> None:
        """Give back every tensor."""
        self.runtime.release([*self.tables.values(), *self.slot_indices.values(), *self.outgrown])
        self.__post_init__()


class TileDecoder:
    """Decodes a batch of tiles frame after frame; rows run in lock-step."""

    def __init__(self, shared: Shared, first_tile: int, tiles: int, frames: int, threshold: float | None) -> None:
        """Tiles first_tile … first_tile + tiles - 1 of a frame, in windows of `frames` frames."""
        self.shared, self.runtime, self.config = shared, shared.runtime, shared.config
        self.batch, self.frames = tiles, frames
        self.tile_index = self.runtime.upload(ints(range(first_tile, first_tile + tiles)))
        slots, self.threshold = self.config.slots, NEVER if threshold is None else threshold
        own = [float(place // slots == row) for row in range(tiles) for place in range(tiles * slots)]
        self.constants = {
            "threshold": self.runtime.upload(floats([self.threshold])),
            "rows": self.runtime.upload(floats(own, (tiles, tiles * slots))),  # 1 where a slot of a block is of the row
        }
        self.budgets: dict[int, dict[str, Tensor]] = {}  # what a frame of such a budget begins with
        self.capacity = self.near = 0
        self.state: dict[str, Tensor] = {}
        self.used = 0  # slots written
        self.blocks = 0  # of the frame that is open
        self.stopped = False  # whether all its rows have
        self.frame_slots: deque[int] = deque()  # of each frame that is still a key: what dropping it frees

    async def see(self, tiles: Tensor, first: bool) -> Tensor:
        """The next frame's vision tokens, to be given to `gaze`, which may still be at the frame before; `first`: of a window.

        tiles float32 [all tiles, 3, tile, tile] -> float32 [tiles of this batch, vision tokens, hidden]; released by who takes it.
        """
        c = self.config
        if first:
            places = (c.input_size // c.patch) ** 2 + 1  # and one of zeros, which the convolution meets around the picture
            self._replace({"past": self.runtime.zeros("float32", (self.batch, places, (c.trunk_temporal_kernel - 1) * c.vision_hidden))})
        encoded = await self.runtime.run("encode", {"tiles": tiles, "tile_index": self.tile_index, "past": self.state["past"]})
        self._replace({"past": encoded["next.past"]})
        return encoded["vision"]

    def _forget_keys(self) -> None:
        """Forget what the decoder has seen. The caches keep their buffers: nothing sees what lies after its own slot."""
        c = self.config
        self.used = 0
        self.frame_slots.clear()
        penalty = [FORBIDDEN if token == c.eos_token else 0.0 for token in range(c.vocab)]
        self._replace(
            {
                "block_ids": self.runtime.upload(ints([c.eos_token] * self.batch * c.slots, (self.batch, c.slots))),
                "block_valid": self.runtime.zeros("float32", (self.batch, c.slots)),
                "penalty": self.runtime.upload(floats(penalty * self.batch, (self.batch, c.vocab))),
                "angle": self.runtime.zeros("float32", (self.batch, c.slots)),
                "slots": self.runtime.upload(ints([*range(c.slots)] * self.batch, (self.batch, c.slots))),
            }
        )

    async def gaze(self, vision: Tensor, budget: int, first: bool) -> FrameGaze:
        """Look at the next frame by its vision tokens; at most `budget` tokens a tile; `first`: of a window. close_frame must follow."""
        if first:
            self._forget_keys()
        if len(self.frame_slots) == self.frames:
            await self._drop_oldest_frame()
        c = self.config
        blocks = -(budget // -c.slots)
        await self._reserve(c.slots + c.connector_tokens)
        self.used += c.slots + c.connector_tokens
        self.near = self._near()
        collected = await self._loop(
            "step_first", {"vision": vision, "near": self.shared.slots(self.near), **self._opening(budget)}, blocks
        )
        # Capacity is made for what a frame mostly needs; a longer one goes on after the caches have grown.
        while len(collected) < blocks and not self.stopped:
            await self._reserve(c.slots)
            collected += await self._loop("step_next", {}, blocks - len(collected))
        self.blocks = len(collected)
        return join_blocks(collected, self.batch, c.slots, budget)

    def _opening(self, budget: int) -> dict[str, Tensor]:
        """What a frame of a budget begins with: the task loss that opens a slot of its first block, and how far past the budget that is."""
        if budget not in self.budgets:
            slots = self.config.slots
            past = [SLOT * (slot + 0.5 - budget) for slot in range(slots)]
            least = [NEVER, *[self.threshold] * (slots - 1)]  # every frame looks at one cell at least
            after = [distance + slots * (SLOT + ENDED) for distance in past]  # a block on, less what its valid slots will take away
            self.budgets[budget] = {
                "first_bar": self.runtime.upload(floats([max(pair) for pair in zip(past, least, strict=True)])),
                "first_shut": self.runtime.upload(floats(after, (1, slots))),
            }
        return self.budgets[budget]

    def _near(self) -> int:
        """How many slots a frame's first block looks at. Each number is a session where shapes are fixed, so there are but a few."""
        if not self.runtime.limits.whole_windows:
            return self.capacity
        c = self.config
        part = -(self.frames * (c.slots + c.connector_tokens) // -(NEAR_PARTS * RUN)) * RUN
        return min(self.capacity, -(self.used // -part) * part)

    async def _loop(self, first: str, feeds: dict[str, Tensor], blocks: int) -> list[dict[str, HostTensor]]:
        """Blocks of the open frame until its rows stop, the capacity is full or `blocks` are made; each but the frame's first feeds one."""
        slots = self.config.slots
        room = (self.capacity - self.used) // slots + (first == "step_first")
        state = {name: self.state.pop(name) for name in list(self.state) if name != "past"}  # the loop's from here on, also if it fails
        feeds = {**self.shared.reach(self.capacity), **self.constants, **feeds}
        loop = await self.runtime.loop(first, "step_next", feeds, state, (*COLLECTED, "stop"), "stop", min(blocks, room))
        self.state |= loop.state
        self.used += (len(loop.collected) - (first == "step_first")) * slots
        self.stopped = bool(loop.collected[-1]["stop"].data[0])
        return loop.collected

    async def close_frame(self, blocks: int) -> None:
        """End the frame, of which the slowest batch has made so many blocks.

        All tiles of a frame run in lock-step, whatever the size of a batch: a batch that stopped earlier has its last block fed within
        the frame, as its rows would have among slower ones. What would follow is padding, which nothing ever looks at.
        """
        c = self.config
        fed = c.slots + c.connector_tokens + (self.blocks - 1) * c.slots
        if self.blocks < blocks:
            await self._reserve(c.slots)
            feeds = {**self.shared.reach(self.capacity), **self.constants, **self.state}
            after = await self.runtime.run("step_next", feeds)
            self._replace({name.removeprefix("next."): tensor for name, tensor in after.items() if name.startswith("next.")})
            self.runtime.release([tensor for name, tensor in after.items() if not name.startswith("next.")])
            fed += c.slots
            self.used += c.slots
        done = [name for name in self.state if name not in BETWEEN_FRAMES and name not in self._cache_names()]
        self.runtime.release([self.state.pop(name) for name in done])
        # The frame's last block enters the caches with the next frame, and goes when this one goes.
        self.frame_slots.append(fed if self.frame_slots else fed + c.slots)

    def release(self) -> None:
        """Give back every tensor of this batch."""
        made = [self.constants, *self.budgets.values(), self.state]
        self.runtime.release([self.tile_index, *(tensor for tensors in made for tensor in tensors.values())])
        self.constants, self.budgets, self.state = {}, {}, {}

    async def _reserve(self, slots: int) -> None:
        """Make room for so many more slots."""
        needed = self.used + slots
        if needed <= self.capacity:
            return
        step = self.shared.capacity_step
        capacity = -(self._wanted(needed) // -step) * step
        zeros = self._zeros(capacity - self.capacity)
        if self.capacity:
            more = {"more_valid": zeros["key_valid"], "more_keys": zeros["key_0"], "more_values": zeros["value_0"]}
            try:
                grown = await self.runtime.run("grow", {name: self.state[name] for name in (*FLAGS, *self._cache_names())} | more)
            finally:
                self.runtime.release(list(zeros.values()))
            zeros = {name.removeprefix("next."): tensor for name, tensor in grown.items()}
        self._replace(zeros)
        self.capacity = capacity

    def _wanted(self, needed: int) -> int:
        """Slots to make where so many are needed now."""
        if not self.runtime.limits.whole_windows:
            return needed
        if not self.capacity:
            return max(needed, self.frames * (self.config.slots + self.config.connector_tokens))
        done = len(self.frame_slots)  # frames, of which `needed` is what they and the open one take
        return needed + (self.frames - done - 1) * needed // (done + 1)

    def _zeros(self, slots: int) -> dict[str, Tensor]:
        """Flags and caches of so many slots; to grow by them, one layer's serve all."""
        c = self.config
        shapes = {"key": (c.heads, c.head_dim, slots), "value": (c.heads, slots, c.head_dim)}
        names = ["key_0", "value_0"] if self.capacity else self._cache_names()
        flags = FLAGS[:1] if self.capacity else FLAGS
        caches = {name: self.runtime.zeros("float32", (self.batch, *shapes[name.split("_")[0]])) for name in names}
        return caches | {name: self.runtime.zeros("float32", (self.batch, slots)) for name in flags}

    async def _drop_oldest_frame(self) -> None:
        """rolling: the oldest frame's slots go, and positions begin again at the oldest frame that is left."""
        dropped = self.frame_slots.popleft()
        if not self.frame_slots:
            self._forget_keys()
            return
        names = ("key_valid", "angle", "slots", *self._cache_names())
        count = self.runtime.upload(ints([dropped]))
        feeds = {name: self.state[name] for name in names} | self.shared.reach(self.capacity) | {"dropped": count}
        try:
            shifted = await self.runtime.run("shift", feeds)
        finally:
            self.runtime.release([count])
        self._replace({name.removeprefix("next."): tensor for name, tensor in shifted.items()})
        self.used -= dropped

    def _cache_names(self) -> list[str]:
        return [f"{kind}_{layer}" for layer in range(self.config.layers) for kind in ("key", "value")]

    def _replace(self, tensors: dict[str, Tensor]) -> None:
        self.runtime.release([self.state[name] for name, tensor in tensors.items() if self.state.get(name, tensor) is not tensor])
        self.state |= tensors


def join_blocks(blocks: list[dict[str, HostTensor]], rows: int, slots: int, budget: int) -> FrameGaze:
    """The blocks of a frame side by side, cut at the budget."""

    def joined(name: str, limit: int) -> list[list[float]]:
        return [[value for block in blocks for value in block[name].data[row * slots : (row + 1) * slots]][:limit] for row in range(rows)]

    return FrameGaze(
        ids=[[int(token) for token in row] for row in joined("block_ids", budget)],
        valid=[[bool(flag) for flag in row] for row in joined("block_valid", budget)],
        probs=joined("probs", budget),
        task_loss=joined("task_loss", len(blocks) * slots),
    )
