"""The judge's numbers on choices that are known, and the built-in model's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import upstream_traces
from autogaze_export.checkpoint import load_network
from autogaze_export.evaluate import evaluate
from autogaze_export.judge import Judge
from autogaze_export.model import Gaze
from autogaze_export.train.recipe import normalised
from autogaze_export.train.release import rounded, write_folder
from autogaze_export.train.teacher import Teacher
from autogaze_export.train.textures import Dice
from autogaze_export.train.video import clips
from autogaze_web.checkpoint import open_checkpoint, read_checkpoint
from autogaze_web.config import parse_config
from tiny_checkpoint import tiny_config, tiny_files

CONFIG = parse_config(json.dumps(tiny_config()))
DEFAULT = Path(__file__).parents[1] / "web" / "models" / "default"
MOST_BYTES = 7_000_000


def test_the_judge_sees_what_was_taken_and_what_was_padded() -> None:
    video = clips(Dice(1, "cpu"), 2, 2, 64)
    judge = Judge(Teacher(CONFIG, "cpu"), video)
    everything = torch.arange(4, 20).expand(2, -1)  # every cell of the finest grid
    padded = torch.tensor([[20, 0, 20, 1], [20, 20, 20, 2]])
    gaze = Gaze(ids=[everything, padded], valid=[everything >= 0, padded < 20])
    found = judge.of_gaze(gaze)
    assert found.counts.tolist() == [[16, 2], [16, 1]]
    assert found.after[:, 0].tolist() == [0, 0]
    assert found.update_ratio.tolist() == [[1, 0.5], [1, 0.25]]
    assert torch.equal(found.updated[0, 1, 0, :32], torch.ones(32, 64, dtype=torch.bool))


def test_no_policy_beats_the_teacher_at_its_first_token() -> None:
    judge = Judge(Teacher(CONFIG, "cpu"), clips(Dice(2, "cpu"), 4, 1, 64))
    best = judge.of_teacher(1).after
    others = (judge.of_difference(1, True), judge.of_difference(1, False), judge.of_chance(1, 3))
    assert all((best <= other.after + 1e-6).all() for other in others)


def test_evaluation_gives_every_set_and_number() -> None:
    checkpoint = open_checkpoint(tiny_files())
    real = torch.randint(0, 256, (4, 100, 130, 3), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)
    numbers = evaluate(load_network(checkpoint), checkpoint.preprocessor, 2, real)
    json.dumps(numbers)
    assert set(numbers["sets"]) == {"mixed", "orbit", "wipe", "still", "cut", "small object", "real", "real, 4 tiles"}
    assert set(numbers["sets"]["real"]["thresholds"]) == {"0.5", "0.7", "1.0"}
    assert {"cut_update_ratio", "cut_psnr_db"} <= set(numbers["sets"]["cut"])
    assert {"changed_updated", "background_updated"} <= set(numbers["sets"]["small object"])


def test_float16_storage_gives_the_ids_of_the_float32_file_rounded_alike(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(DEFAULT)
    assert len(checkpoint.data) <= MOST_BYTES
    assert {info.dtype for info in checkpoint.tensors.values()} == {"F16"}
    half = load_network(checkpoint)
    write_folder(rounded(load_network(checkpoint)), DEFAULT, tmp_path, half=False)
    whole = load_network(read_checkpoint(tmp_path))
    frames = torch.from_numpy(upstream_traces.frames()[:2, :224, :224].copy()).permute(0, 3, 1, 2)[None]
    video = normalised(frames, checkpoint.preprocessor)
    gazes = [network.generate(video, [40, 40], 0.7) for network in (half, whole)]
    for one, other in zip(gazes[0].ids, gazes[1].ids, strict=True):
        assert torch.equal(one, other)


def test_the_built_in_configuration_is_upstreams() -> None:
    upstream = Path(__file__).parent / "data" / "upstream"
    for name in ("config.json", "preprocessor_config.json"):
        assert json.loads((DEFAULT / name).read_text()).keys() == json.loads((upstream / name).read_text()).keys()


def test_the_built_in_model_beats_patch_difference_on_real_frames() -> None:
    checkpoint = read_checkpoint(DEFAULT)
    network = load_network(checkpoint)
    frames = torch.from_numpy(upstream_traces.frames()[:3, :224, :224].copy()).permute(0, 3, 1, 2)[None]
    judge = Judge(Teacher(checkpoint.config, "cpu"), frames)
    gaze = network.generate(normalised(frames, checkpoint.preprocessor), [10] * 3, None)
    model, teacher, difference = (
        float(found.after.mean()) for found in (judge.of_gaze(gaze), judge.of_teacher(10), judge.of_difference(10, True))
    )
    assert teacher < model < difference
    assert (difference - model) / (difference - teacher) == pytest.approx(1, abs=0.25)
