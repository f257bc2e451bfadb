"""The greedy teacher: which cells, taken in turn, lower the reconstruction loss of a frame most.

Known of a clip is a picture, kept from frame to frame and empty (mid-grey) before the first. A cell of scale s reveals the frame at that
scale's resolution inside the cell: the frame area-averaged to s × s pixels and brought back bilinearly; the finest scale is the frame
itself. Where cells of a frame overlap the finer one counts.

The loss of a frame is LOSS_SCALE · √(root mean square error), of 8-bit RGB against that picture, as a share of the grey range. It follows
the picture at its scale's resolution and not the canvas of interframe output, which copies whole pixels wherever a cell lies: for the
canvas one coarse cell would be as good as all cells under it, and nothing would tell fine detail from flat ground. The canvas is never
behind the picture by much, so a bound on this loss bounds its error too.

Cell borders of all scales lie on the grid of their least common multiple, whose squares are called atoms (28 × 28 of 8 × 8 pixels).
Squared errors are summed over each atom once, at each scale; from then on choosing is arithmetic on atoms, and exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_export.train.capture import Captured, Fused
from autogaze_web.config import ModelConfig
from autogaze_web.layout import Layout, pixel_range

EMPTY = 127.5 / 255  # what is known before the first frame: mid-grey
LOSS_SCALE = 3.6  # 0.7 is an error of 9.6 grey levels in 255, or 28.4 dB


@dataclass
class Look:
    """One frame, looked at slot by slot."""

    ids: Tensor  # int64 [B, n]
    gains: Tensor  # float32 [B, n, cells]: what each cell is worth before the slot, below 0 where it would lose detail; 0 where taken
    forbidden: Tensor  # bool [B, n, cells]: taken before the slot
    losses: Tensor  # float32 [B, n + 1]: the frame's loss before each slot, and after the last
    valid: Tensor  # bool [B, n]: before the stop
    level: Tensor  # int64 [B, atoms]: what shows each atom after the valid slots: a scale, or -1 for what was kept


class Teacher:
    """Geometry of a configuration on a device; everything that chooses or judges cells."""

    def __init__(self, config: ModelConfig, device: torch.device | str, thrift: float = 0.0) -> None:
        """A cell is worth what it lowers the mean squared error by, over the power `thrift` of its share of the picture; 0: greedy."""
        self.layout, self.size = config.layout, config.input_size
        self.side = math.lcm(*self.layout.grids)  # atoms along one side
        self.member = memberships(self.layout, self.side).to(device)  # float32 [cells, atoms]
        self.cost = self.member.mean(1) ** thrift  # [cells]
        scales = torch.tensor([self.layout.locate(cell)[0] for cell in range(self.layout.cells)], device=device)
        self.scale_of = scales  # int64 [cells]
        self.ranks = torch.arange(len(self.layout.scales), device=device)[:, None]  # [scales, 1]
        by_scale = torch.zeros(len(self.layout.scales), *self.member.shape, device=device)
        by_scale[scales, torch.arange(len(scales), device=device)] = self.member
        self.captured = Captured(self._look)
        self.sums = by_scale.transpose(1, 2).flatten(0, 1).contiguous()  # [scales · atoms, cells]

    def reveal(self, frames: Tensor, scale: int) -> Tensor:
        """frames float [N, 3, H, W] as a scale shows them."""
        pixels = self.layout.scales[scale]
        if pixels == self.size:
            return frames
        return F.interpolate(F.interpolate(frames, size=(pixels, pixels), mode="area"), size=frames.shape[-2:], mode="bilinear")

    def errors(self, frames: Tensor, pictures: Tensor) -> Tensor:
        """What each atom adds to the mean squared error: two [N, 3, H, W] -> [N, atoms]."""
        squares = (frames - pictures).square().mean(1, keepdim=True)  # [N, 1, H, W]
        return F.avg_pool2d(squares, self.size // self.side).flatten(1) / self.side**2

    def scale_errors(self, frames: Tensor) -> Tensor:
        """errors of each scale's own rendering: [N, 3, H, W] -> [N, scales, atoms]."""
        return torch.stack([self.errors(frames, self.reveal(frames, scale)) for scale in range(len(self.layout.scales))], dim=1)

    def compose(self, frames: Tensor, kept: Tensor, level: Tensor) -> Tensor:
        """The picture after a frame: frames and kept [N, 3, H, W], level int64 [N, atoms] -> [N, 3, H, W]."""
        shown = level.reshape(-1, 1, self.side, self.side)
        shown = shown.repeat_interleave(self.size // self.side, 2).repeat_interleave(self.size // self.side, 3)
        for scale in range(len(self.layout.scales)):
            kept = torch.where(shown == scale, self.reveal(frames, scale), kept)
        return kept

    def look(self, before: Tensor, scales: Tensor, policy: Tensor, threshold: Tensor, counts: Tensor) -> Look:
        """Take cells, one after the other, in each of n slots.

        before [B, atoms], errors of the kept picture; scales [B, scales, atoms], of each scale's; policy float [B, n, cells]: the
        cell of the highest score that is left is taken, or, where the scores are NaN, the one that is worth most. The frame of a row
        stops at the first slot but slot 0 whose loss is at or below threshold [B], or after counts [B] slots; slots go on beyond the
        stop, for what they teach, and leave no trace in `level`.
        """
        return Look(*self.captured(before, scales, policy, threshold, counts))

    def _look(self, before: Tensor, scales: Tensor, policy: Tensor, threshold: Tensor, counts: Tensor) -> tuple[Tensor, ...]:
        error, level = before, torch.full_like(before, -1, dtype=torch.long)
        kept_level, open_rows = level, torch.ones_like(threshold, dtype=torch.bool)
        taken = torch.zeros_like(policy[:, 0], dtype=torch.bool)
        allowed = torch.arange(policy.shape[1], device=counts.device) < counts[:, None]  # [B, n]
        bounds = torch.cat([torch.full_like(threshold[:, None], -math.inf), threshold[:, None].expand(-1, policy.shape[1] - 1)], dim=1)
        slots: list[tuple[Tensor, ...]] = []
        for slot in range(policy.shape[1]):
            loss, open_rows = reached(error, open_rows, allowed[:, slot], bounds[:, slot])
            worth, chosen = weighed(self.gains(error, scales, level), self.cost, taken, policy[:, slot])
            slots.append((chosen, worth, taken, loss, open_rows))
            error, level, kept_level, taken = taken_cell(
                error, scales, level, kept_level, taken, open_rows, chosen, self.scale_of, self.member
            )
        ids, gains, forbidden, losses, valid = (torch.stack(parts, dim=1) for parts in zip(*slots, strict=True))
        return ids, gains, forbidden, torch.cat([losses, loss_of(error.sum(1))[:, None]], dim=1), valid, kept_level

    def gains(self, error: Tensor, scales: Tensor, level: Tensor) -> Tensor:
        """How much each cell would lower the mean squared error: [B, cells]; finer scales already shown stay."""
        return falls(error, scales, level, self.ranks).flatten(1) @ self.sums


@Fused
def falls(error: Tensor, scales: Tensor, level: Tensor, ranks: Tensor) -> Tensor:
    """How far each atom's error would fall at each scale: [B, scales, atoms]."""
    return (error[:, None] - scales) * (level[:, None] < ranks)


@Fused
def reached(error: Tensor, open_rows: Tensor, allowed: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """The loss [B] of atoms' errors, and which rows go on."""
    loss = loss_of(error.sum(1))
    return loss, open_rows & allowed & (loss > bound)


@Fused
def weighed(gain: Tensor, cost: Tensor, taken: Tensor, policy: Tensor) -> tuple[Tensor, Tensor]:
    """What each cell is worth [B, cells], and the one that is chosen [B]."""
    worth = torch.where(taken, 0.0, gain / cost)
    scores = torch.where(policy.isnan(), worth, policy)
    return worth, torch.where(taken, -math.inf, scores).argmax(1)


@Fused
def taken_cell(
    error: Tensor,
    scales: Tensor,
    level: Tensor,
    kept_level: Tensor,
    taken: Tensor,
    open_rows: Tensor,
    chosen: Tensor,
    scale_of: Tensor,
    member: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """error, level, kept_level and taken after one cell a row, chosen int64 [B]; kept_level follows level in rows that go on."""
    scale = scale_of[chosen][:, None]  # [B, 1]
    shown = (member[chosen] > 0) & (level < scale)
    revealed = scales.gather(1, scale[..., None].expand(-1, -1, scales.shape[2]))[:, 0]
    level = torch.where(shown, scale, level)
    cells = torch.arange(taken.shape[1], device=taken.device)
    return (
        torch.where(shown, revealed, error),
        level,
        torch.where(open_rows[:, None], level, kept_level),
        taken | (cells == chosen[:, None]),
    )


def loss_of(mean_square: Tensor) -> Tensor:
    """The loss of a mean squared error, of pixels from 0 to 1."""
    return LOSS_SCALE * mean_square.clamp(min=0) ** 0.25


def memberships(layout: Layout, side: int) -> Tensor:
    """Which atoms lie in each cell: float32 [cells, side²], 1 or 0."""
    found = torch.zeros(layout.cells, side, side)
    for cell in range(layout.cells):
        scale, row, column = layout.locate(cell)
        grid = layout.grids[scale]
        (top, bottom), (left, right) = pixel_range(row, grid, side), pixel_range(column, grid, side)
        found[cell, top:bottom, left:right] = 1
    return found.flatten(1)
