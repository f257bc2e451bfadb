"""The training loop: rounds of fresh clips, resumable at any round, with a running average of the weights as the result."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from autogaze_export.model import AutoGaze
from autogaze_export.train.recipe import Recipe, begin_course, grade, normalised, take_lesson
from autogaze_export.train.start import initialise
from autogaze_export.train.teacher import Teacher
from autogaze_export.train.textures import Dice
from autogaze_export.train.video import clips
from autogaze_web.config import ModelConfig, PreprocessorConfig

STATE = ("weights.pt", "average.pt", "moments.pt", "progress.json")
Report = Callable[[dict[str, float]], None]


class Trainer:
    """A network in training, on one device."""

    def __init__(self, recipe: Recipe, config: ModelConfig, preprocessor: PreprocessorConfig, device: str) -> None:
        self.recipe, self.config, self.preprocessor, self.device = recipe, config, preprocessor, torch.device(device)
        self.network = AutoGaze(config)
        initialise(self.network, recipe.seed)
        self.network.to(self.device)
        self.average = {name: weight.detach().clone() for name, weight in self.network.named_parameters()}
        matrices = [weight for weight in self.network.parameters() if weight.dim() > 1]
        others = [weight for weight in self.network.parameters() if weight.dim() < 2]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)
        self.teacher = Teacher(config, self.device, recipe.thrift)
        self.round = 0
        self.log: list[dict[str, float]] = []

    @property
    def step(self) -> int:
        return self.round * self.recipe.passes

    def run(self, minutes: float, report: Report) -> bool:
        """Train until the recipe is done or the time is up; -> whether it is done."""
        end = time.monotonic() + 60 * minutes
        while self.round < self.recipe.rounds and time.monotonic() < end:
            began = time.monotonic()
            entry = self.one_round()
            if self.round % 10 == 0 or self.round == self.recipe.rounds:
                numbers = {name: round(float(value), 5) for name, value in entry.items()}
                self.log.append({"round": self.round, **numbers, "seconds": round(time.monotonic() - began, 3)})
                report(self.log[-1])
        return self.round >= self.recipe.rounds

    def one_round(self) -> dict[str, Tensor]:
        """Fresh clips, and a gradient step for each pass over them."""
        recipe, shape = self.recipe, self.recipe.shape(self.round)
        dice = Dice(recipe.seed * 1_000_003 + self.round, self.device)
        with torch.no_grad():
            video = clips(dice, shape.clips, min(shape.frames, self.config.max_num_frames), self.config.input_size)
            course = begin_course(recipe, shape.budgets, dice, self.teacher, self.config, video)
            seen = normalised(video, self.preprocessor)
        policy: Tensor | None = None
        parts: dict[str, Tensor] = {}
        for number in range(recipe.passes):
            with torch.no_grad():
                lesson = take_lesson(self.teacher, course, self.config, policy)
            self.set_rate(self.step + number)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                loss, parts, policy = grade(self.network, recipe, seen, lesson)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
            self.optimizer.step()
            self.update_average(self.step + number)
        self.round += 1
        return parts

    def set_rate(self, step: int) -> None:
        """Warm-up, then a cosine to a hundredth."""
        recipe = self.recipe
        done = step / (recipe.rounds * recipe.passes)
        rate = recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        share = 1 - min(self.recipe.average, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.average.values()), list(self.network.parameters()), share)

    def averaged(self) -> AutoGaze:
        """The network that is kept."""
        network = AutoGaze(self.config)
        network.load_state_dict({name: weight.cpu() for name, weight in self.average.items()})
        return network.eval().requires_grad_(False).to(self.device)

    def save(self, folder: Path) -> None:
        """All that a later stretch needs; the optimiser's moments in half the bits."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.network.state_dict(), folder / "weights.pt")
        torch.save(self.average, folder / "average.pt")
        moments = self.optimizer.state_dict()["state"]
        torch.save({key: {name: halved(value) for name, value in state.items()} for key, state in moments.items()}, folder / "moments.pt")
        (folder / "progress.json").write_text(json.dumps({"round": self.round, "log": self.log}))

    def resume(self, folder: Path) -> None:
        """Go on where a stretch ended."""
        read = {name: torch.load(folder / name, map_location=self.device, weights_only=True) for name in STATE[:3]}
        self.network.load_state_dict(read["weights.pt"])
        self.average = {name: read["average.pt"][name] for name, _ in self.network.named_parameters()}
        state = {key: {name: value.float() for name, value in moments.items()} for key, moments in read["moments.pt"].items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        progress = json.loads((folder / "progress.json").read_text())
        self.round, self.log = progress["round"], progress["log"]


def halved(value: Tensor) -> Tensor:
    return value.bfloat16() if value.dim() else value
