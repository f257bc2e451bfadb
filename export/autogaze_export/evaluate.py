"""How well a model gazes: against the greedy teacher, patch difference and chance, on clips that it has never seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze_export.judge import Judge, Judgement, read_losses
from autogaze_export.model import AutoGaze, Gaze
from autogaze_export.train.recipe import normalised
from autogaze_export.train.teacher import Teacher
from autogaze_export.train.textures import Dice
from autogaze_export.train.video import clips
from autogaze_web.config import ModelConfig, PreprocessorConfig
from autogaze_web.settings import budget as tokens_of

BUDGETS = (10, 20, 40, 80)
THRESHOLDS = (0.5, 0.7, 1.0)
DEFAULT = 0.7
SEED = 77_000_001  # training's seeds are above 10^13
SCENES = ("mixed", "orbit", "wipe", "still", "cut", "small object")
HELD_OUT = ("mixed", "orbit", "wipe")  # the last two are motions that training never draws
NEAR = 0.15  # of the threshold, where the true loss should be at the stop
CHANGED = 8 / 255  # a pixel that differs by more has changed

Numbers = dict[str, Any]
Progress = Callable[[str], None]


@dataclass
class Clips:
    """A set of clips of equal size, decoded together."""

    name: str
    video: Tensor  # uint8 [B, T, 3, H, W]


def sets(config: ModelConfig, count: int, real: Tensor | None, device: torch.device) -> Iterator[Clips]:
    """Procedural clips of each kind, and real frames uint8 [T, H, W, 3], whole and as four tiles."""
    side, frames = config.input_size, config.max_num_frames
    for number, kind in enumerate(SCENES):
        yield Clips(kind, clips(Dice(SEED + number, device), count, frames, side, kind))
    if real is not None:
        pictures = real[:frames].permute(0, 3, 1, 2).to(device)
        yield Clips("real", resized(pictures, side)[None])
        tiles = resized(pictures, 2 * side)
        corners = [tiles[:, :, y : y + side, x : x + side] for y in (0, side) for x in (0, side)]
        yield Clips("real, 4 tiles", torch.stack(corners))


def resized(pictures: Tensor, side: int) -> Tensor:
    """uint8 [T, 3, H, W], stretched to a square."""
    if pictures.shape[-2:] == (side, side):
        return pictures
    return F.interpolate(pictures.float(), size=(side, side), mode="bilinear", antialias=True).round().clamp(0, 255).to(torch.uint8)


def evaluate(
    network: AutoGaze, preprocessor: PreprocessorConfig, count: int, real: Tensor | None, progress: Progress = lambda name: None
) -> Numbers:
    """All numbers, as they go into JSON."""
    teacher = Teacher(network.config, network.device)
    found: Numbers = {"clips": count, "seed": SEED, "torch": torch.__version__, "device": str(network.device), "sets": {}}
    with torch.no_grad():
        for chosen in sets(network.config, count, real, network.device):
            progress(chosen.name)
            found["sets"][chosen.name] = numbers_of(network, preprocessor, teacher, chosen)
    return found


def numbers_of(network: AutoGaze, preprocessor: PreprocessorConfig, teacher: Teacher, chosen: Clips) -> Numbers:
    video, judge = normalised(chosen.video, preprocessor), Judge(teacher, chosen.video)
    frames, cells = video.shape[1], network.config.cells_each_frame
    numbers: Numbers = {"budgets": {}, "thresholds": {}}
    if chosen.name not in ("still", "cut", "small object"):
        for budget in (budget for budget in BUDGETS if budget < cells):
            gaze = network.generate(video, [budget] * frames, None)
            numbers["budgets"][str(budget)] = against_others(judge, judge.of_gaze(gaze), budget)
    most = tokens_of(network.config.gazing_ratio, cells)
    for threshold in THRESHOLDS:
        gaze = network.generate(video, [most] * frames, threshold)
        judgement = judge.of_gaze(gaze)
        numbers["thresholds"][str(threshold)] = at_threshold(gaze, judgement, threshold, most)
        if threshold == DEFAULT and chosen.name in SPECIAL:
            numbers |= SPECIAL[chosen.name](judge, judgement)
    return numbers


def against_others(judge: Judge, model: Judgement, budget: int) -> Numbers:
    """Mean loss after each frame's tokens; and the shares of the gaps between patch difference and teacher that the model closes."""
    losses = {
        "model": model,
        "teacher": judge.of_teacher(budget),
        "difference_previous": judge.of_difference(budget, displayed=False),
        "difference_displayed": judge.of_difference(budget, displayed=True),
        "random": judge.of_chance(budget, SEED),
    }
    means = {name: float(judgement.after.mean()) for name, judgement in losses.items()}
    numbers: Numbers = dict(means)
    for kind in ("previous", "displayed"):
        other = means[f"difference_{kind}"]
        gap = other - means["teacher"]
        numbers[f"closed_{kind}"] = (other - means["model"]) / gap if gap > 0 else None
    return numbers


def at_threshold(gaze: Gaze, judgement: Judgement, threshold: float, most: int) -> Numbers:
    """What the stop rule makes of a threshold; output frames are those after the first, which is copied whole."""
    errors, near, near_begun = [], [], []
    for t, (told, before, read) in enumerate(read_losses(gaze, threshold)):
        true = judgement.losses[t].gather(1, before)
        errors.append((told - true).abs()[read])
        close = (judgement.after[:, t] - threshold).abs() <= NEAR
        near.append(close)
        near_begun.append(close[(judgement.losses[t][:, 0] > threshold) & (judgement.counts[:, t] < most)])
    shown = judgement.psnr_db[:, 1:]
    finite = shown[shown.isfinite()]
    return {
        "tokens_first_frame": float(judgement.counts[:, 0].float().mean()),
        "tokens_later_frames": float(judgement.counts[:, 1:].float().mean()),
        "true_loss": float(judgement.after.mean()),
        "update_ratio": float(judgement.update_ratio[:, 1:].mean()),
        "psnr_db": float(finite.mean()) if len(finite) else None,
        "stop_head_error": float(torch.cat(errors).mean()),
        "stopped_near": float(torch.cat(near).float().mean()),
        "stopped_near_of_begun_above": mean_or_none(torch.cat(near_begun)),
    }


def mean_or_none(values: Tensor) -> float | None:
    return float(values.float().mean()) if len(values) else None


def still(judge: Judge, judgement: Judgement) -> Numbers:
    """Tokens after the first frame of clips that stand still to the last bit."""
    same = (judge.video[:, 1:] == judge.video[:, :1]).flatten(1).all(1)
    later = judgement.counts[same, 1:]
    return {
        "clips_without_change": int(same.sum()),
        "most_tokens_later": int(later.max()) if len(later) else None,
        "frames_with_at_most_2": float((later <= 2).float().mean()) if len(later) else None,
    }


def cut(judge: Judge, judgement: Judgement) -> Numbers:
    """The frame of the cut: how much of it is on screen."""
    at = judge.video.shape[1] // 2
    values = {"update_ratio": judgement.update_ratio, "psnr_db": judgement.psnr_db, "true_loss": judgement.after}
    means = {f"cut_{name}": float(value[:, at].mean()) for name, value in values.items()}
    return {name: value if math.isfinite(value) else "inf" for name, value in means.items()}


def small_object(judge: Judge, judgement: Judgement) -> Numbers:
    """Of the pixels that changed, and of those that did not, the shares that were updated."""
    found: dict[str, list[float]] = {"changed_updated": [], "background_updated": []}
    for t in range(1, judge.video.shape[1]):
        changed = ((judge.frames[t] - judge.frames[t - 1]).abs().amax(1, keepdim=True) > CHANGED).float()
        patch = judge.teacher.layout.patch
        near = F.max_pool2d(changed, patch, patch).repeat_interleave(patch, 2).repeat_interleave(patch, 3)  # cells that hold a change
        updated = judgement.updated[:, t].float()
        for row in range(len(changed)):
            if changed[row].any():
                found["changed_updated"].append(float((updated[row] * changed[row]).sum() / changed[row].sum()))
            found["background_updated"].append(float((updated[row] * (1 - near[row])).sum() / (1 - near[row]).sum().clamp(min=1)))
    return {name: fmean(values) for name, values in found.items() if values}


SPECIAL = {"still": still, "cut": cut, "small object": small_object}
