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
from autogaze_export.train.places import tie_places
from autogaze_export.train.recipe import Recipe, begin_course, grade, normalised, take_lesson
from autogaze_export.train.teacher import Teacher
from autogaze_export.train.textures import Dice
from autogaze_export.train.video import clips
from autogaze_web.config import ModelConfig, PreprocessorConfig

INITIAL_SPREAD = 0.02  # standard deviation of new weights, as Llama's
LOGGED = 12  # rounds that an entry of the log is the mean of
SAMPLE = (10, 3, 20)  # clips, frames and slots of what is looked at before places are tied
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
        self.optimizer = self.fresh_optimizer()
        self.teacher = Teacher(config, self.device, recipe.thrift)
        self.round = 0
        self.log: list[dict[str, float]] = []

    def fresh_optimizer(self) -> torch.optim.AdamW:
        recipe = self.recipe
        matrices = [weight for weight in self.network.parameters() if weight.dim() > 1]
        others = [weight for weight in self.network.parameters() if weight.dim() < 2]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=recipe.parts[0].learning_rate, betas=recipe.betas)

    def begin_with(self, network: AutoGaze) -> None:
        """Take over weights and go on with the recipe's last part."""
        self.network.load_state_dict(network.state_dict())
        self.round = self.recipe.rounds - self.recipe.parts[-1].rounds

    def tie_places(self) -> None:
        """On the CPU, where nothing is compiled; what the optimiser knew of the weights is void."""
        clips_, frames, slots = SAMPLE
        teacher, dice = Teacher(self.config, "cpu", self.recipe.thrift), Dice(self.recipe.seed, "cpu")
        network = AutoGaze(self.config)
        network.load_state_dict({name: weight.cpu() for name, weight in self.network.state_dict().items()})
        with torch.no_grad():
            video = clips(dice, clips_, min(frames, self.config.max_num_frames), self.config.input_size)
            course = begin_course(self.recipe, (slots,), dice, teacher, self.config, video)
            lesson = take_lesson(teacher, course, self.config, None)
        tie_places(network, normalised(video, self.preprocessor), lesson)
        self.network.load_state_dict(network.state_dict())
        self.average = {name: weight.detach().clone() for name, weight in self.network.named_parameters()}
        self.optimizer = self.fresh_optimizer()

    def run(self, minutes: float, report: Report) -> bool:
        """Train until the recipe is done or the time is up; -> whether it is done."""
        end = time.monotonic() + 60 * minutes
        began, entries = time.monotonic(), list[dict[str, Tensor]]()
        while self.round < self.recipe.rounds and time.monotonic() < end:
            entries.append(self.one_round())
            if self.round % LOGGED == 0 or self.round == self.recipe.rounds:
                numbers = {name: round(float(torch.stack([entry[name] for entry in entries]).mean()), 5) for name in entries[0]}
                seconds = round((time.monotonic() - began) / len(entries), 3)
                self.log.append({"round": self.round, **numbers, "seconds": seconds})
                report(self.log[-1])
                began, entries = time.monotonic(), []
        return self.round >= self.recipe.rounds

    def one_round(self) -> dict[str, Tensor]:
        """Fresh clips, and a gradient step for each pass over them."""
        recipe = self.recipe
        part, number = recipe.part(self.round)
        if part.ties_places and number == 0:
            self.tie_places()
        shape = part.shapes[number % len(part.shapes)]
        dice = Dice(recipe.seed * 1_000_003 + self.round, self.device)
        with torch.no_grad():
            video = clips(dice, shape.clips, min(shape.frames, self.config.max_num_frames), self.config.input_size)
            course = begin_course(recipe, shape.budgets, dice, self.teacher, self.config, video)
            seen = normalised(video, self.preprocessor)
        policy: Tensor | None = None
        parts: dict[str, Tensor] = {}
        for step in range(number * recipe.passes, (number + 1) * recipe.passes):
            with torch.no_grad():
                lesson = take_lesson(self.teacher, course, self.config, policy)
            self.set_rate(step)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                loss, parts, policy = grade(self.network, recipe, seen, lesson)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
            self.optimizer.step()
            self.update_average(step)
        self.round += 1
        return parts

    def set_rate(self, step: int) -> None:
        """Warm-up, then a cosine to a hundredth, in each part."""
        part, _ = self.recipe.part(self.round)
        done = step / (part.rounds * self.recipe.passes)
        rate = part.learning_rate * min(1.0, (step + 1) / part.warmup) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
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
        with torch.no_grad():
            network.gazing_model.gaze_decoder.task_loss_prediction_head.weight.mul_(self.recipe.head_scale)
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


def initialise(network: AutoGaze, seed: int) -> None:
    """New weights as Llama's: normal matrices, norms of one, biases of zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, INITIAL_SPREAD, generator=generator)
            elif name.endswith("bias"):
                weight.zero_()


def halved(value: Tensor) -> Tensor:
    return value.bfloat16() if value.dim() else value
