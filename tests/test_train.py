"""Training of the built-in model: the teacher's arithmetic, the sequence that stands for decoding, and a minute's run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from autogaze_export.checkpoint import load_network
from autogaze_export.model import AutoGaze
from autogaze_export.train.loop import Trainer
from autogaze_export.train.recipe import Part, Recipe, Shape, begin_course, take_lesson
from autogaze_export.train.sequence import embed, pack, predict
from autogaze_export.train.teacher import LOSS_SCALE, Teacher
from autogaze_export.train.textures import Dice
from autogaze_export.train.video import KINDS, clips
from autogaze_web.checkpoint import open_checkpoint
from autogaze_web.cli import app
from autogaze_web.config import ModelConfig, parse_config, parse_preprocessor
from tiny_checkpoint import tiny_config, tiny_files, tiny_preprocessor

CONFIG = parse_config(json.dumps(tiny_config()))
PREPROCESSOR = parse_preprocessor(json.dumps(tiny_preprocessor()))
TINY = Recipe(parts=(Part(3, (Shape(2, 8, (4, 8, 16)),), 2e-3, 2), Part(3, (Shape(4, 4, (4, 8, 16)),), 2e-3, 2)), passes=2)


@pytest.fixture(scope="module")
def network() -> AutoGaze:
    return load_network(open_checkpoint(tiny_files()))


# --- one sequence equals decoding -------------------------------------------------------------------------------------------------


def test_the_fast_embedding_is_the_networks_own(network: AutoGaze) -> None:
    video = torch.randn(2, 4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(embed(network, video), network.embed(video)[0], atol=1e-5, rtol=1e-5)


def decoded(network: AutoGaze, video: torch.Tensor, budget: int, requirement: float | None) -> tuple[list[torch.Tensor], ...]:
    """ids, validity, task losses and probabilities of each frame, block by block."""
    gaze = network.generate(video, [budget] * video.shape[1], requirement)
    return gaze.ids, gaze.valid, gaze.task_loss, gaze.probs


@pytest.mark.parametrize(("budget", "requirement", "rows"), [(8, None, 3), (7, None, 3), (16, -0.1, 1), (16, 0.2, 1), (16, -0.1, 3)])
def test_one_pass_over_a_clip_equals_decoding_it(network: AutoGaze, budget: int, requirement: float | None, rows: int) -> None:
    video = torch.randn(rows, 4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    ids, valid, losses, probs = decoded(network, video, budget, requirement)
    slots, each = CONFIG.slots, 16
    all_ids, all_valid = torch.zeros(rows, 4, each, dtype=torch.long), torch.zeros(rows, 4, each, dtype=torch.bool)
    for t, (frame_ids, frame_valid) in enumerate(zip(ids, valid, strict=True)):
        all_ids[:, t, : frame_ids.shape[1]], all_valid[:, t, : frame_valid.shape[1]] = frame_ids, frame_valid
    counts = all_valid.sum(2)
    longest = torch.tensor([frame.shape[1] for frame in ids])
    stopped = (counts < budget) if requirement is not None else torch.zeros_like(counts, dtype=torch.bool)
    blocks = torch.where(stopped, counts // slots + 1, -(counts // -slots))
    late = blocks < -(longest // -slots)  # the row waited for others
    packing = pack(all_valid, stopped, late, slots, CONFIG.connector_tokens)
    logits, told = predict(network, video, all_ids, packing)
    assert packing.exists.sum() >= 4 * rows
    for t in range(4):
        for row in range(rows):
            n = int(blocks[row, t]) * slots
            torch.testing.assert_close(told[row, t].flatten()[:n], losses[t][row, :n], atol=1e-4, rtol=1e-4)
            chances = logits[row, t].flatten(0, 1).softmax(-1)
            for slot in range(int(counts[row, t])):
                if all_valid[row, t, slot]:
                    chance = chances[slot, all_ids[row, t, slot]]
                    torch.testing.assert_close(chance, probs[t][row, slot], atol=1e-4, rtol=1e-3)


# --- teacher ----------------------------------------------------------------------------------------------------------------------


def slow_loss(frame: torch.Tensor, kept: torch.Tensor, cells: list[int], teacher: Teacher, config: ModelConfig) -> float:
    """The loss of a choice of cells, pixel by pixel."""
    picture = kept.clone()
    for scale, grid in enumerate(config.layout.grids):  # finer over coarser
        side = config.input_size // grid
        for cell in cells:
            of, row, column = config.layout.locate(cell)
            if of == scale:
                part = (slice(None), slice(None), slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
                picture[part] = teacher.reveal(frame, scale)[part]
    return LOSS_SCALE * float((frame - picture).square().mean()) ** 0.25


def test_the_teacher_takes_the_best_cell_and_knows_the_loss() -> None:
    teacher, dice = Teacher(CONFIG, "cpu"), Dice(3, "cpu")
    frames = clips(dice, 2, 1, 64)[:, 0].float() / 255
    kept, slots = torch.full_like(frames, 0.5), 6
    scores = torch.full((2, slots, CONFIG.cells_each_frame), torch.nan)
    unlimited = torch.full((2,), 99)
    look = teacher.look(teacher.errors(frames, kept), teacher.scale_errors(frames), scores, torch.tensor([-1.0, -1.0]), unlimited)
    for row in range(2):
        taken = look.ids[row].tolist()
        assert len(set(taken)) == slots
        for slot in range(slots):
            known = slow_loss(frames[row : row + 1], kept[row : row + 1], taken[:slot], teacher, CONFIG)
            assert known == pytest.approx(float(look.losses[row, slot]), abs=1e-4)
        others = [slow_loss(frames[row : row + 1], kept[row : row + 1], [cell], teacher, CONFIG) for cell in range(20)]
        assert min(others) == pytest.approx(others[taken[0]], abs=1e-5)
    picture = teacher.compose(frames, kept, look.level)
    wanted = slow_loss(frames[:1], kept[:1], look.ids[0].tolist(), teacher, CONFIG)
    assert LOSS_SCALE * float((frames[0] - picture[0]).square().mean()) ** 0.25 == pytest.approx(wanted, abs=1e-5)


def test_a_still_clip_needs_one_token_a_frame_once_it_is_known() -> None:
    teacher = Teacher(CONFIG, "cpu")
    video = clips(Dice(4, "cpu"), 1, 1, 64).repeat(4, 4, 1, 1, 1)
    course = begin_course(TINY, (16,), Dice(5, "cpu"), teacher, CONFIG, video)
    course.slots, course.counts, course.thresholds = 16, torch.full((4,), 16), torch.tensor([0.9, 1.0, 1.1, 1.2])
    lesson = take_lesson(teacher, course, CONFIG, None)
    assert (lesson.counts[:, 0] > 1).any()
    for row in range(4):
        if lesson.counts[row, 0] < 16:
            assert lesson.counts[row, 1:].tolist() == [1, 1, 1]


# --- video and the loop -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_clips(kind: str) -> None:
    first, again, other = (clips(Dice(seed, "cpu"), 3, 4, 64, kind) for seed in (7, 7, 8))
    assert first.shape == (3, 4, 3, 64, 64)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_still_clip_is_still_and_a_cut_is_whole() -> None:
    still = clips(Dice(9, "cpu"), 40, 3, 64, "still").float()
    assert ((still[:, 0] - still[:, 2]).abs().amax((1, 2, 3)) == 0).sum() >= 30  # the others have noise
    cut = clips(Dice(9, "cpu"), 6, 4, 64, "cut").float()
    steps = (cut[:, 1:] - cut[:, :-1]).abs().mean((2, 3, 4))  # [clips, 3]
    assert (steps.argmax(1) == 1).all()


def test_training_lowers_what_it_should_within_a_minute_and_resumes(tmp_path: Path) -> None:
    trainer = Trainer(TINY, CONFIG, PREPROCESSOR, "cpu")
    first = {name: float(value) for name, value in trainer.one_round().items()}
    trainer.one_round()
    trainer.save(tmp_path)
    resumed = Trainer(TINY, CONFIG, PREPROCESSOR, "cpu")
    resumed.resume(tmp_path)
    ends = []
    for run in (trainer, resumed):
        assert run.run(1.0, lambda entry: None)
        ends.append(float(run.network.gazing_model.gaze_decoder.lm_head.weight.detach().abs().sum()))
    assert ends[0] == pytest.approx(ends[1], rel=0.02)
    assert first["loss_error"] > trainer.log[-1]["loss_error"] * 0.5


def test_the_commands_train_a_smoke_model_and_evaluate_it(tmp_path: Path) -> None:
    for name, data in tiny_files().items():
        if name.endswith(".json"):
            (tmp_path / name).write_bytes(data)
    out = tmp_path / "model"
    train = ["train", "--out", str(out), "--config", str(tmp_path), "--smoke", "--device", "cpu"]
    for command in (train, [*train, "--resume"], ["evaluate", str(out), "--clips", "1"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    assert "orbit" in result.output
    assert set(json.loads((out / "evaluation.json").read_text())["sets"]) >= {"mixed", "still", "cut"}
