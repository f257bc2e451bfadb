"""Upstream's matrix of options, and refusals that say what to do instead."""

from __future__ import annotations

import math
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_web.config import ModelConfig
from autogaze_web.errors import SettingsError
from autogaze_web.paint import PaintSettings
from autogaze_web.settings import GazeSettings, budget, check_paint


@pytest.mark.parametrize(
    ("given_options", "budgets", "threshold"),
    [
        ({}, [198] * 16, 0.7),  # neither: the configuration's two
        ({"gazing_ratio": 0.1}, [26] * 16, None),  # a ratio alone: no task loss
        ({"task_loss_requirement": 0.5}, [265] * 16, 0.5),  # a task loss alone: every cell
        ({"gazing_ratio": 0.03, "task_loss_requirement": 0.5}, [7] * 16, 0.5),
        ({"max_gaze_tokens_each_frame": 40}, [40] * 16, None),
        ({"max_gaze_tokens_each_frame": 4000}, [265] * 16, None),
        ({"gazing_ratio": 0.0}, [1] * 16, None),  # upstream clamps to one token
        ({"gazing_ratio": (0.1, 1.0), "clip_len": 2}, [26, 265], None),
    ],
)
def test_options_mean_what_they_mean_upstream(
    config: ModelConfig, given_options: dict[str, Any], budgets: list[int], threshold: float | None
) -> None:
    assert GazeSettings(**given_options).stop_rule(config) == (budgets, threshold)


def test_decibels_relabel_the_threshold(config: ModelConfig) -> None:
    _, threshold = GazeSettings(task_loss_requirement_db=20.0).stop_rule(config)
    assert threshold == pytest.approx(0.1)


@given(st.floats(-200, 200))
def test_every_threshold_is_a_float32(decibels: float) -> None:
    threshold = GazeSettings(task_loss_requirement_db=decibels).threshold
    assert threshold is not None and 0 < array("f", [threshold])[0] < math.inf


@given(st.floats(0, 1, width=32))
def test_a_budget_is_the_truncated_float32_product(ratio: float) -> None:
    import numpy as np

    assert budget(ratio, 265) == max(int(np.float32(ratio) * np.float32(265)), 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "zoom"}, "choose one of resize, tiled"),
        ({"window": "all"}, "choose one of chunk16, rolling"),
        ({"gazing_ratio": 1.5}, "from 0 to 1"),
        ({"gazing_ratio": math.nan}, "from 0 to 1"),
        ({"gazing_ratio": 0.5, "max_gaze_tokens_each_frame": 3}, "give one of them"),
        ({"task_loss_requirement": 0.5, "task_loss_requirement_db": 6.0}, "give one of them"),
        ({"task_loss_requirement": math.inf}, "finite"),
        ({"task_loss_requirement_db": -99999.0}, "from -200 to 200"),
        ({"task_loss_requirement_db": 201.0}, "from -200 to 200"),
        ({"target_scales": (64, 128), "mode": "tiled"}, "target_scales and the mode tiled"),
        ({"max_gaze_tokens_each_frame": 0}, "at least 1"),
        ({"clip_len": 0}, "at least one frame"),
        ({"tile_batch": -1}, "number of tiles"),
    ],
)
def test_senseless_settings_are_refused_with_a_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        GazeSettings(**options)


def test_windows_and_lists_must_fit_the_model(config: ModelConfig) -> None:
    with pytest.raises(SettingsError, match="16 frames at most"):
        GazeSettings(clip_len=17).stop_rule(config)
    with pytest.raises(SettingsError, match="lists 3 values; a window has 16 frames"):
        GazeSettings(gazing_ratio=(0.1, 0.2, 0.3)).stop_rule(config)


@pytest.mark.parametrize(
    "options",
    [
        {"output_mode": "x"},
        {"mask_mode": "x"},
        {"geometry": "x"},
        {"keyframe_duration": -1},
        {"blend_alpha": 1.01},
        {"blend_alpha": math.nan},
        {"mask_cell_scale": 0.0},
        {"mask_cell_scale": math.inf},
    ],
)
def test_senseless_painting_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        check_paint(PaintSettings(**options))
