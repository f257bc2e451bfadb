"""How large caches are, how many tiles share a batch, and what all batches take that depends on the number of slots only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autogaze_web.config import ModelConfig
from autogaze_web.rotary import rotary_tables
from autogaze_web.runtime import Limits, Runtime, Tensor, ints

RUN = 64  # slots that attention takes at a time on a GPU (web/worker/kernels); capacities are multiples
CAPACITY_STEP = 256  # slots by which the caches grow; attention costs what the capacity is, and growing copies the caches
POSITIONS_STEP = 2048  # rows by which the tables of angles grow


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
