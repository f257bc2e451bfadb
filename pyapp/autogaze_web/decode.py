"""The decoding loop of one batch of tiles: which frame sees which caches, and what comes out of it (SEMANTICS §4).

Everything that is large stays in the runtime. A frame is one call of `encode` and one loop of `step_first` and `step_next`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from autogaze_web.caches import Shared
from autogaze_web.runtime import Ahead, Begun, HostTensor, Loop, Tensor, floats, ints

NEVER = -3e38  # a task loss that no prediction is at or below; finite, because shaders may take infinities for impossible
FORBIDDEN = -(2.0**30)  # added to the logit of an id that must not be chosen; multiples of it mark the slot that chose the id
SLOT = 2.0**80  # a slot's distance to the budget, in units that no task loss reaches
ENDED = 2.0**16 * SLOT  # what a slot that is not valid adds to it: more than any budget, and still exact beside half a SLOT
FEW_TILES = 8  # in a batch: up to here a frame is opened by a guess how the one before ends
COLLECTED = ("block_ids", "block_valid", "probs", "task_loss")
FLAGS = ("key_valid", "hidden")  # of the state: one a slot of the caches, and grows with them
BETWEEN_FRAMES = ("block_ids", "block_valid", "penalty", "angle", "slots", *FLAGS)  # of the state; the rest belongs to a frame


@dataclass
class Opened:
    """A frame that is being looked at."""

    blocks: int  # at most
    given: dict[str, Tensor]  # the state that it began with
    begun: Begun
    base: int  # slots that were used before
    frame_slots: tuple[int, ...]  # of the frames before
    left: list[Tensor] = field(default_factory=list)  # what no later frame needs of where it is expected to end


class TileDecoder:
    """Decodes a batch of tiles frame after frame; rows run in lock-step."""

    def __init__(self, shared: Shared, first_tile: int, tiles: int, frames: int, threshold: float | None) -> None:
        """Tiles first_tile … first_tile + tiles - 1 of a frame, in windows of `frames` frames."""
        self.shared, self.runtime, self.config = shared, shared.runtime, shared.config
        self.batch, self.frames = tiles, frames
        self.prefill = self.config.slots + self.config.connector_tokens  # tokens that a frame's first block feeds
        self.tile_index = self.runtime.upload(ints(range(first_tile, first_tile + tiles)))
        slots, self.threshold = self.config.slots, NEVER if threshold is None else threshold
        own = [float(place // slots == row) for row in range(tiles) for place in range(tiles * slots)]
        self.constants = {
            "threshold": self.runtime.upload(floats([self.threshold])),
            "rows": self.runtime.upload(floats(own, (tiles, tiles * slots))),  # 1 where a slot of a block is of the row
        }
        self.budgets: dict[int, dict[str, Tensor]] = {}  # what a frame of such a budget begins with
        self.capacity = 0
        self.mostly = 1  # blocks that frames are expected to have
        self.past: list[Tensor] = []  # of encode: one, once a frame was seen
        self.state: dict[str, Tensor] = {}  # between frames, or where the last loop ended; a loop under way has it
        self.used = 0  # slots written
        self.opened: Opened | None = None  # the last frame that was
        self.ended: tuple[Opened, int] | None = None  # it, and its blocks, until it is closed
        self.expected: Opened | None = None  # the one before, while it is not known how it ends
        self.frame_slots: deque[int] = deque()  # of each frame that is still a key: what dropping it frees

    async def see(self, tiles: Tensor, first: bool) -> Tensor:
        """The next frame's vision tokens, to be given to `gaze`, which may still be at the frame before; `first`: of a window.

        tiles float32 [all tiles, 3, tile, tile] -> float32 [tiles of this batch, vision tokens, hidden]; released by who takes it.
        """
        c = self.config
        if first:
            places = (c.input_size // c.patch) ** 2 + 1  # and one of zeros, which the convolution meets around the picture
            self._remember(self.runtime.zeros("float32", (self.batch, places, (c.trunk_temporal_kernel - 1) * c.vision_hidden)))
        encoded = await self.runtime.run("encode", {"tiles": tiles, "tile_index": self.tile_index, "past": self.past[0]})
        self._remember(encoded["next.past"])
        return encoded["vision"]

    def _remember(self, past: Tensor) -> None:
        self.runtime.release(self.past)
        self.past = [past]

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

    async def open(self, vision: Tensor, budget: int, first: bool) -> None:
        """Begin to look at the next frame by its vision tokens; at most `budget` tokens a tile; `first`: of a window. `end` must follow."""
        if first:
            self._forget_keys()
        if len(self.frame_slots) == self.frames:
            await self._drop_oldest_frame()
        base, blocks = self.used, -(budget // -self.config.slots)
        self.mostly = blocks if self.threshold == NEVER else min(blocks, 2)
        await self._reserve(self.prefill)
        self.used += self.prefill
        feeds = {"vision": vision, **self._opening(budget)}
        given, begun = await self._begin("step_first", feeds, blocks)
        self.opened = Opened(blocks, given, begun, base, tuple(self.frame_slots))

    def may_expect(self, first: bool) -> bool:
        """Whether the next frame can be opened before it is known how the one that is open ends; `first`: of a window."""
        frame = self.opened
        if frame is None or self.expected or not isinstance(self.runtime, Ahead) or not self.runtime.limits.side_by_side:
            return False
        # The stop rule may end a frame otherwise; to have opened the next for nothing costs more the more tiles there are.
        runs, certain = frame.begun.runs, self.threshold == NEVER or frame.blocks == 1
        sure = certain and runs == frame.blocks
        if first:  # which writes from the beginning of the caches
            return sure
        fits = self.used + (runs - 1) * self.config.slots + self.prefill <= self.capacity and len(self.frame_slots) + 1 < self.frames
        return fits and (sure if certain else self.batch <= FEW_TILES)

    def expect(self) -> None:
        """Go on as if the frame that is open had ended where it is expected to."""
        frame = self.opened
        assert frame is not None
        self.expected, self.opened = frame, None
        self.state = dict(frame.begun.state)
        frame.left += self._close(frame, frame.begun.runs)

    def recall(self) -> None:
        """Take `expect` back, and what was opened since: the frame goes on, or has ended earlier."""
        frame, after = self.expected, self.opened
        assert frame is not None
        if after is not None:
            self._abandon(after.begun)
        own, given = {id(tensor) for tensor in frame.begun.state.values()}, after.given if after else self.state
        self.runtime.release([tensor for tensor in given.values() if id(tensor) not in own])
        frame.left.clear()
        self.opened, self.expected, self.state = frame, None, {}
        self.used, self.frame_slots = frame.base + self.prefill, deque(frame.frame_slots)

    async def known(self) -> bool:
        """Await how the frame that is open ends, the first of two; -> whether as expected."""
        frame = self.expected or self.opened
        assert frame is not None
        if isinstance(frame.begun.handle, Loop):
            return True
        assert isinstance(self.runtime, Ahead)
        loop = await self.runtime.known(frame.begun)
        frame.begun.handle = loop or frame.begun.handle
        return loop is not None

    async def end(self) -> list[dict[str, HostTensor]]:
        """The blocks of the frame that is open, the first of two, which must have been recalled unless it ended as expected.

        close_frame must follow, where it was not expected.
        """
        frame = self.expected or self.opened
        assert frame is not None
        if self.expected:
            self.expected = None
            loop = await self._finish(frame.begun)
            self.runtime.release(frame.left)
            return loop.collected
        self.opened = None
        loop = await self._finish(frame.begun)
        collected = loop.collected
        self.state = loop.state
        self.used += (len(collected) - 1) * self.config.slots
        # Capacity is made for what a frame mostly needs; a longer one goes on after the caches have grown.
        while len(collected) < frame.blocks and not collected[-1]["stop"].data[0]:
            await self._reserve(self.config.slots)
            _, begun = await self._begin("step_next", {}, frame.blocks - len(collected))
            loop = await self._finish(begun)
            collected += loop.collected
            self.state = loop.state
            self.used += len(loop.collected) * self.config.slots
        self.ended = frame, len(collected)
        return collected

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

    async def _begin(self, first: str, feeds: dict[str, Tensor], blocks: int) -> tuple[dict[str, Tensor], Begun]:
        """Begin blocks of a frame until its rows stop, the capacity is full or `blocks` are made; each but the frame's first feeds one.

        -> the state, which is the loop's from here on; the loop.
        """
        room = (self.capacity - self.used) // self.config.slots + (first == "step_first")
        state, self.state = self.state, {}
        feeds = {**self.shared.reach(self.capacity), **self.constants, **feeds}
        work = (first, "step_next", feeds, state, (*COLLECTED, "stop"), "stop", min(blocks, room))
        if isinstance(self.runtime, Ahead):
            try:
                return state, await self.runtime.begin(*work)
            except BaseException:
                self.state = state
                raise
        loop = await self.runtime.loop(*work)
        return state, Begun(loop.state, len(loop.collected), loop)

    async def _finish(self, begun: Begun) -> Loop:
        if isinstance(begun.handle, Loop):
            return begun.handle
        assert isinstance(self.runtime, Ahead)
        return await self.runtime.finish(begun)

    def _abandon(self, begun: Begun) -> None:
        assert isinstance(self.runtime, Ahead)
        self.runtime.abandon(begun)

    async def close_frame(self, blocks: int) -> None:
        """End the frame, of which the slowest batch has made so many blocks.

        All tiles of a frame run in lock-step, whatever the size of a batch: a batch that stopped earlier has its last block fed within
        the frame, as its rows would have among slower ones. What would follow is padding, which nothing ever looks at.
        """
        if self.ended is None:
            return  # it was expected
        (frame, own), self.ended = self.ended, None
        if own < blocks:
            await self._reserve(self.config.slots)
            feeds = {**self.shared.reach(self.capacity), **self.constants, **self.state}
            after = await self.runtime.run("step_next", feeds)
            self._replace({name.removeprefix("next."): tensor for name, tensor in after.items() if name.startswith("next.")})
            self.runtime.release([tensor for name, tensor in after.items() if not name.startswith("next.")])
            own += 1
        self.runtime.release(self._close(frame, own))

    def _close(self, frame: Opened, blocks: int) -> list[Tensor]:
        """Count a frame that has fed all but the last of so many blocks; -> what of the state no later frame needs."""
        fed = self.prefill + (blocks - 1) * self.config.slots
        self.used = frame.base + fed
        # The frame's last block enters the caches with the next frame, and goes when this one goes.
        self.frame_slots.append(fed if self.frame_slots else fed + self.config.slots)
        done = [name for name in self.state if name not in BETWEEN_FRAMES and name not in self._cache_names()]
        return [self.state.pop(name) for name in done]

    def release(self) -> None:
        """Give back every tensor of this batch."""
        if self.expected:
            self.recall()
        if self.opened:
            frame, self.opened = self.opened, None
            if isinstance(frame.begun.handle, Loop):
                self.state = frame.begun.state
            else:
                self._abandon(frame.begun)
                self.state = frame.given
        made = [self.constants, *self.budgets.values(), self.state]
        self.runtime.release([self.tile_index, *self.past, *(tensor for tensors in made for tensor in tensors.values())])
        self.constants, self.budgets, self.state, self.past = {}, {}, {}, []

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
            return max(needed, self.frames * (self.prefill + (self.mostly - 1) * self.config.slots))
        done = len(self.frame_slots)  # frames, of which `needed` is what they and the open one take
        return needed + (self.frames - done - 1) * needed // (done + 1)

    def _zeros(self, slots: int) -> dict[str, Tensor]:
        """Flags and caches of so many slots; to grow by them, one layer's serve all."""
        c = self.config
        shape = (c.heads, slots, c.head_dim)
        names = ["key_0", "value_0"] if self.capacity else self._cache_names()
        flags = FLAGS[:1] if self.capacity else FLAGS
        caches = {name: self.runtime.zeros("float32", (self.batch, *shape)) for name in names}
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
        gone = [self.state[name] for name, tensor in tensors.items() if self.state.get(name, tensor) is not tensor]
        if self.expected:
            self.expected.left += gone  # which it has until it has ended
        else:
            self.runtime.release(gone)
        self.state |= tensors
