"""The recipe: every number of the training, and what one batch of clips teaches."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_export.model import AutoGaze
from autogaze_export.train.sequence import Packing, pack, predict
from autogaze_export.train.teacher import EMPTY, Look, Teacher
from autogaze_export.train.textures import Dice
from autogaze_web.config import ModelConfig, PreprocessorConfig


@dataclass(frozen=True)
class Shape:
    """A batch's sizes."""

    frames: int  # of a clip
    clips: int
    budgets: tuple[int, ...]  # slots of a frame, one drawn for each batch


SHORT, DEEP = Shape(4, 256, (10, 20, 40, 80)), Shape(4, 128, (120, 200))
MIDDLE, LONG = Shape(8, 128, (10, 20, 40, 80)), Shape(16, 64, (10, 20, 40, 80))


@dataclass(frozen=True)
class Part:
    """Rounds with a learning rate of their own, which rises, and falls to a hundredth."""

    rounds: int  # batches of clips
    shapes: tuple[Shape, ...]  # take turns
    learning_rate: float
    warmup: int = 200  # steps
    ties_places: bool = False  # before the first round


@dataclass(frozen=True)
class Recipe:
    """Numbers of a training run."""

    seed: int = 20261124
    parts: tuple[Part, ...] = (
        Part(1500, (SHORT, SHORT, MIDDLE, LONG), 2.5e-3),
        Part(1300, (LONG, MIDDLE, LONG, DEEP, LONG, SHORT), 1.5e-3, 100, ties_places=True),
    )
    passes: int = 4  # gradient steps on a batch, each on the sequence that the pass before would have chosen
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0  # of the gradient's norm
    average: float = 0.998  # of the weights that are kept, per step
    thrift: float = 0.3  # of the teacher: how much it minds the pixels that a cell refreshes
    sharpness: float = 8.0  # of the target: cells in proportion to their worth to this power
    head_weight: float = 2.0  # of the predicted task loss's error, where the true one is one to stop at
    head_range: float = 1.3  # losses that nobody stops at are above this, and weigh a quarter
    head_scale: float = 1.06  # of the kept network's loss head: near thresholds the true loss was so much more than told, on own tokens
    teacher_share: float = 0.1  # of rows that follow the teacher in every pass
    thresholds: tuple[float, float] = (0.4, 1.1)  # of the task loss, drawn for each row that stops by it
    threshold_share: float = 0.4  # of rows that stop by the task loss; others by a count
    late_share: float = 0.3  # of rows whose frames wait for longer ones, as tiles do

    @property
    def rounds(self) -> int:
        return sum(part.rounds for part in self.parts)

    def part(self, round_: int) -> tuple[Part, int]:
        """The part that a round belongs to, and its number in that part."""
        for part in self.parts:
            if round_ < part.rounds:
                break
            round_ -= part.rounds
        return part, round_


SMOKE = Recipe(parts=(Part(2, (Shape(2, 4, (10, 20)),), 2e-3, 2), Part(2, (Shape(3, 2, (10, 20)),), 2e-3, 2, ties_places=True)), passes=2)


@dataclass
class Course:
    """A batch of clips, and what its passes share."""

    video: Tensor  # uint8 [B, T, 3, H, W]
    scales: Tensor  # float32 [B, T, scales, atoms], errors of each scale's rendering
    slots: int  # of a frame
    thresholds: Tensor  # [B]
    counts: Tensor  # int64 [B]
    late: Tensor  # bool [B, T]
    by_teacher: Tensor  # bool [B]


@dataclass
class Lesson:
    """A batch of clips with the tokens that were taken and what each slot should have said; [B, T, slots, …]."""

    ids: Tensor
    gains: Tensor
    forbidden: Tensor
    losses: Tensor
    packing: Packing
    counts: Tensor = field(default_factory=lambda: torch.empty(0))  # [B, T] tokens taken


def begin_course(recipe: Recipe, choices: tuple[int, ...], dice: Dice, teacher: Teacher, config: ModelConfig, video: Tensor) -> Course:
    """Draw how long each row looks; `choices` are budgets."""
    rows, frames = video.shape[:2]
    budgets = [-(-min(budget, config.cells_each_frame // config.slots * config.slots) // config.slots) for budget in choices]
    slots = config.slots * budgets[int(dice.below((1,), len(budgets)))]
    by_loss = dice.chance((rows,), recipe.threshold_share)
    thresholds = torch.where(by_loss, dice.uniform((rows,), *recipe.thresholds), -1.0)
    counts = dice.log_uniform((rows,), min(4, slots), slots + 1).long().clamp(max=slots)
    counts = torch.where(by_loss | dice.chance((rows,), 0.5), slots, counts)
    late = dice.chance((rows, 1), recipe.late_share) & dice.chance((rows, frames), 0.5)
    scales = torch.stack([teacher.scale_errors(unit(video[:, t])) for t in range(frames)], dim=1)
    return Course(video, scales, slots, thresholds, counts, late, dice.chance((rows,), recipe.teacher_share))


def take_lesson(teacher: Teacher, course: Course, config: ModelConfig, policy: Tensor | None) -> Lesson:
    """Look at the clips by a policy (scores [B, T, slots, cells]; None: the teacher), and ask the teacher at every slot."""
    looks: list[Look] = []
    kept = torch.full_like(course.video[:, 0], EMPTY, dtype=torch.float32)
    for t in range(course.video.shape[1]):
        frame = unit(course.video[:, t])
        if policy is None:
            scores = frame.new_full((len(frame), course.slots, config.cells_each_frame), torch.nan)
        else:
            scores = policy[:, t].masked_fill(course.by_teacher[:, None, None], torch.nan)
        look = teacher.look(teacher.errors(frame, kept), course.scales[:, t], scores, course.thresholds, course.counts)
        kept = teacher.compose(frame, kept, look.level)
        looks.append(look)
    ids, gains, forbidden, losses, valid = (
        torch.stack([getattr(look, name) for look in looks], dim=1) for name in ("ids", "gains", "forbidden", "losses", "valid")
    )
    counts = valid.sum(2)
    # A frame of a row that stops by loss ended so unless it used up its slots above the threshold.
    last = losses.gather(2, counts[..., None])[..., 0]
    stopped = (last <= course.thresholds[:, None]) & (counts < course.slots)
    packing = pack(valid, stopped, course.late, config.slots, config.connector_tokens)
    return Lesson(ids, gains, forbidden, losses[..., :-1], packing, counts)


def grade(network: AutoGaze, recipe: Recipe, video: Tensor, lesson: Lesson) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """-> the loss, its parts, and the scores [B, T, slots, cells] by which the next pass looks; video normalised.

    Each slot of a block that inference comes to is taught, also behind the stop: the stop rule reads what those slots say of the loss.
    """
    logits, told = predict(network, video, lesson.ids, lesson.packing)
    logits, told = logits[..., :-1].flatten(2, 3), told.flatten(2, 3)  # [B, T, slots, cells]
    slots = network.config.slots
    weight = lesson.packing.exists.repeat_interleave(slots, 2).float()  # [B, T, slots]
    best = lesson.gains.amax(-1, keepdim=True)
    share = (lesson.gains / best.clamp(min=1e-12)).clamp(min=-1)
    target = share.clamp(min=0) ** recipe.sharpness
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-12)
    taught = weight * (best[..., 0] > 1e-8)
    chances = F.log_softmax(logits.masked_fill(lesson.forbidden, -1e4), dim=-1)
    total = taught.sum().clamp(min=1)
    cross = -((target * chances).sum(-1) * taught).sum() / total
    regret = ((1 - (chances.exp() * share).sum(-1)) * taught).sum() / total
    weight = weight * torch.where(lesson.losses < recipe.head_range, 1.0, 0.25)
    error = ((told - lesson.losses).abs() * weight).sum() / weight.sum()
    parts = {"cross_entropy": cross, "regret": regret, "loss_error": error, "tokens": lesson.counts.float().mean()}
    return cross + regret + recipe.head_weight * error, {name: part.detach() for name, part in parts.items()}, logits.detach()


def unit(video: Tensor) -> Tensor:
    """uint8 -> float32, 0…1."""
    return video.float() / 255


def normalised(video: Tensor, preprocessor: PreprocessorConfig) -> Tensor:
    """uint8 [B, T, 3, H, W] -> what the network takes, float32."""
    mean, std = (torch.tensor(values, device=video.device)[:, None, None] for values in (preprocessor.mean, preprocessor.std))
    return (video.float() * preprocessor.rescale_factor - float(preprocessor.offset) - mean) / std
