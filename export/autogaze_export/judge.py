"""What a choice of cells was worth: the true loss slot by slot, and what interframe output shows of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_export.model import Gaze
from autogaze_export.train.recipe import unit
from autogaze_export.train.teacher import EMPTY, Teacher

NEVER = -1.0  # no loss is at or below it


@dataclass
class Judgement:
    """B clips of T frames, judged."""

    losses: list[Tensor]  # a frame: float32 [B, n + 1], before each token and after the last; a row's last value repeats
    counts: Tensor  # int64 [B, T]: tokens taken
    updated: Tensor  # bool [B, T, 1, H, W]: pixels under the union of cells
    update_ratio: Tensor  # float32 [B, T]; 1 in the first frame, which interframe output copies whole
    psnr_db: Tensor  # float32 [B, T]: the canvas of interframe output against the frame; infinite where equal

    @property
    def after(self) -> Tensor:
        """The true loss after each frame's tokens, [B, T]."""
        ends = [losses.gather(1, self.counts[:, t, None])[:, 0] for t, losses in enumerate(self.losses)]
        return torch.stack(ends, dim=1)


class Judge:
    """Follows a policy through clips, as the teacher keeps the picture."""

    def __init__(self, teacher: Teacher, video: Tensor) -> None:
        """video uint8 [B, T, 3, H, W]."""
        self.teacher, self.video = teacher, video
        frames = [unit(frame) for frame in video.unbind(1)]
        self.frames, self.scales = frames, [teacher.scale_errors(frame) for frame in frames]

    def of_gaze(self, gaze: Gaze) -> Judgement:
        """What a network chose."""
        cells = self.teacher.layout.cells
        scores, counts = [], []
        for ids, valid in zip(gaze.ids, gaze.valid, strict=True):
            order = torch.argsort((~valid).int(), dim=1, stable=True)  # padding behind what was taken
            taken = ids.gather(1, order).clamp(max=cells - 1)
            scores.append(F.one_hot(taken, cells).float())
            counts.append(valid.sum(1))
        return self.follow(scores, counts)

    def of_teacher(self, budget: int) -> Judgement:
        return self.follow([torch.full_like(self.blank(budget), torch.nan)] * len(self.frames), budget)

    def of_chance(self, budget: int, seed: int) -> Judgement:
        generator = torch.Generator(self.video.device).manual_seed(seed)
        draws = [torch.rand(self.blank(budget).shape, generator=generator, device=self.video.device) for _ in self.frames]
        return self.follow(draws, budget)

    def of_difference(self, budget: int, displayed: bool) -> Judgement:
        """The cells of the finest grid that changed most, against the last frame or (displayed) against the canvas."""
        layout, scores = self.teacher.layout, []
        canvas = torch.full_like(self.frames[0], EMPTY)
        for frame in self.frames:
            change = F.avg_pool2d((frame - canvas).abs().mean(1, keepdim=True), layout.patch).flatten(1)  # [B, finest cells]
            score = torch.full_like(self.blank(1)[:, 0], NEVER)
            score[:, layout.offsets[-2] :] = change
            scores.append(score[:, None].expand(-1, budget, -1))
            chosen = change.topk(min(budget, change.shape[1]), dim=1).indices
            picked = torch.zeros_like(change).scatter(1, chosen, 1).reshape(-1, 1, layout.grids[-1], layout.grids[-1])
            whole = F.interpolate(picked, size=frame.shape[-2:], mode="nearest") > 0
            canvas = torch.where(whole, frame, canvas) if displayed else frame
        return self.follow(scores, budget)

    def blank(self, budget: int) -> Tensor:
        return self.frames[0].new_zeros(len(self.video), budget, self.teacher.layout.cells)

    def follow(self, scores: list[Tensor], counts: list[Tensor] | int) -> Judgement:
        """scores of each frame [B, n, cells]: slot by slot the cell of the highest score that is left, and the teacher's where NaN."""
        teacher, rows = self.teacher, len(self.video)
        kept, canvas = torch.full_like(self.frames[0], EMPTY), self.frames[0]
        never = torch.full((rows,), NEVER, device=self.video.device)
        losses, taken, updates, ratios, psnrs = [], [], [], [], []
        for t, frame in enumerate(self.frames):
            count = torch.full((rows,), counts, device=frame.device) if isinstance(counts, int) else counts[t]
            look = teacher.look(teacher.errors(frame, kept), self.scales[t], scores[t], never, count)
            kept = teacher.compose(frame, kept, look.level)
            step = teacher.size // teacher.side
            under = (look.level >= 0).reshape(rows, 1, teacher.side, teacher.side).repeat_interleave(step, 2).repeat_interleave(step, 3)
            canvas = torch.where(under, frame, canvas)
            losses.append(look.losses)
            taken.append(count)
            updates.append(under)
            ratios.append(under.float().mean((1, 2, 3)) if t else torch.ones(rows, device=frame.device))
            psnrs.append(-10 * torch.log10((canvas - frame).square().mean((1, 2, 3))))
        return Judgement(losses, torch.stack(taken, 1), torch.stack(updates, 1), torch.stack(ratios, 1), torch.stack(psnrs, 1))


def read_losses(gaze: Gaze, threshold: float) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each frame, what the stop rule read of each slot: predicted losses, how many tokens were taken before, whether it was read.

    All [B, slots]; a row's slots are read up to the first that stops it.
    """
    found = []
    for valid, told in zip(gaze.valid, gaze.task_loss, strict=True):
        told = told[:, : valid.shape[1]]
        stops = told <= threshold
        stops[:, 0] = False
        before = stops.cumsum(1) - stops.long()  # stops at earlier slots
        found.append((told, valid.cumsum(1) - valid.long(), before == 0))
    return found
