"""What was looked at in one frame."""

from __future__ import annotations

from typing import NamedTuple

from autogaze_web.runtime import HostTensor


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
