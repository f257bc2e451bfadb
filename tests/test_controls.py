"""What the page shows of the settings: nothing missing, nothing that drifts, and what comes back from it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from autogaze_web.cli import app
from autogaze_web.config import ModelConfig
from autogaze_web.controls import ALTERNATIVES, BY_NAME, CHOICE, PAGE, SETTINGS, STOPS, Setting, describe, parse
from autogaze_web.errors import SettingsError
from autogaze_web.paint import PaintSettings
from autogaze_web.settings import GazeSettings

OPTIONS = {  # of the command line, by the setting whose other name they are
    "max_gaze_tokens_each_frame": "max_gaze_tokens",
    "task_loss_requirement": "task_loss",
    "task_loss_requirement_db": "task_loss_db",
    "keyframe_duration": "keyframe",
    "blend_alpha": "alpha",
    "mask_cell_scale": "cell_scale",
}
OWN = {"task_loss", "backend"}  # no fields of a dataclass
HELD_BY_THE_MODEL = {"target_scales", "target_patch_size"}  # refused only when a model is there


def shown() -> list[Setting]:
    return [setting for setting in SETTINGS if setting.name not in OWN]


def test_every_setting_is_there_once_in_its_group() -> None:
    by_group = {group: [s.name for s in shown() if s.group == group] for group in ("gaze", "paint")}
    assert sorted(by_group["gaze"]) == sorted(field.name for field in fields(GazeSettings))
    assert sorted(by_group["paint"]) == sorted(field.name for field in fields(PaintSettings))
    assert len(BY_NAME) == len(SETTINGS)


def test_defaults_are_those_of_the_settings() -> None:
    defaults = asdict(GazeSettings()) | asdict(PaintSettings())
    assert {setting.name: setting.default for setting in shown()} == defaults
    assert parse({}) == parse(dict.fromkeys(defaults)) == (GazeSettings(), PaintSettings())
    assert parse({name: value for name, value in defaults.items() if value is not None}) == (GazeSettings(), PaintSettings())


@pytest.mark.parametrize("setting", shown(), ids=lambda setting: setting.name)
def test_words_are_those_of_the_command_line(setting: Setting) -> None:
    run: Any = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    options = {option.name: option.help for option in run.params}
    assert options[OPTIONS.get(setting.name, setting.name)].startswith(setting.help)


@pytest.mark.parametrize("setting", [s for s in shown() if s.name not in HELD_BY_THE_MODEL], ids=lambda setting: setting.name)
def test_limits_are_where_values_begin_to_be_refused(setting: Setting) -> None:
    step = 1 if setting.kind == "integer" else 1e-6
    for limit, outside in ((setting.least, -step), (setting.most, step)):
        if limit is not None:
            parse({setting.name: limit})
            with pytest.raises(SettingsError):
                parse({setting.name: limit + outside})
    if setting.above is not None:
        parse({setting.name: setting.above + step})
        with pytest.raises(SettingsError):
            parse({setting.name: setting.above})
    if setting.kind != CHOICE and setting.most is None:
        parse({setting.name: 1e9})
    if setting.kind != CHOICE and setting.least is None and setting.above is None:
        parse({setting.name: -1e9})


def test_what_refers_to_another_control_finds_it() -> None:
    names = {control.name for control in ALTERNATIVES}
    assert {setting.control for setting in SETTINGS if setting.control} == names
    for setting in SETTINGS:
        if setting.needs is not None:
            name, value = setting.needs
            assert value is None or value in [choice for choice, _ in BY_NAME[name].choices]
        if setting.start is not None:
            parse({setting.name: setting.start})
        assert (setting.kind == CHOICE) == bool(setting.choices)
        assert setting.default is not None or setting.unset or setting.control


def test_the_description_is_json_and_says_every_limit() -> None:
    text = json.dumps(describe(), allow_nan=False)
    settings = {setting["name"]: setting for setting in json.loads(text)["settings"]}
    assert settings["blend_alpha"]["least"] == 0 and settings["blend_alpha"]["most"] == 1
    assert settings["mask_cell_scale"]["above"] == 0
    assert settings["tile_batch"]["default"] == 0 and settings["clip_len"]["default"] is None
    assert settings["target_patch_size"]["needs"] == {"name": "target_scales", "value": None}
    assert [choice["value"] for choice in settings["geometry"]["choices"]] == ["native", "deduplicated", "effective"]


@pytest.mark.parametrize(
    ("settings", "budgets", "threshold"),
    [
        ({}, [198] * 16, 0.7),
        ({"max_gaze_tokens_each_frame": 40}, [40] * 16, None),
        ({"task_loss_requirement": 0.5}, [265] * 16, 0.5),
        ({"max_gaze_tokens_each_frame": 40, "task_loss_requirement": 0.5}, [40] * 16, 0.5),
        ({"task_loss": "off"}, [265] * 16, None),
        ({"task_loss": "off", "gazing_ratio": 0.1}, [26] * 16, None),
        ({"task_loss": "off", "max_gaze_tokens_each_frame": 40}, [40] * 16, None),
        ({"task_loss": None, "gazing_ratio": [0.1]}, [26] * 16, None),
    ],
)
def test_the_control_of_the_task_loss_means_what_it_says(
    config: ModelConfig, settings: dict[str, object], budgets: list[int], threshold: float | None
) -> None:
    gaze, _ = parse(settings)
    assert gaze.stop_rule(config) == (budgets, threshold)
    assert len(STOPS) == 6


def test_decibels_come_through() -> None:
    assert parse({"task_loss_requirement_db": 20})[0].threshold == pytest.approx(0.1)


def test_lists_and_javascript_numbers() -> None:
    gaze, paint = parse(
        {"gazing_ratio": [0.2, 0.05], "clip_len": 2.0, "target_scales": [64, 128.0], "keyframe_duration": 8.0, "blend_alpha": 1}
    )
    assert gaze == GazeSettings(gazing_ratio=(0.2, 0.05), clip_len=2, target_scales=(64, 128))
    assert paint == replace(PaintSettings(), keyframe_duration=8, blend_alpha=1.0)
    assert isinstance(gaze.clip_len, int) and isinstance(paint.blend_alpha, float)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"zoom": 3}, "no setting 'zoom'; there are mode"),
        ({"backend": "wasm"}, "no setting 'backend'"),
        ({"mode": "zoom"}, "choose one of resize, tiled"),
        ({"mode": 3}, "mode is 3; choose one of"),
        ({"mode": ["tiled"]}, "choose one of"),
        ({"clip_len": 2.5}, "clip_len is 2.5; it is a whole number"),
        ({"clip_len": math.inf}, "whole number"),
        ({"clip_len": math.nan}, "whole number"),
        ({"clip_len": True}, "whole number"),
        ({"clip_len": "2"}, "whole number"),
        ({"blend_alpha": "0.5"}, "it is a number"),
        ({"blend_alpha": math.nan}, "from 0 to 1"),
        ({"target_scales": []}, "empty list"),
        ({"target_scales": [64, "x"]}, "whole number"),
        ({"gazing_ratio": [0.1, 2]}, "from 0 to 1"),
        ({"task_loss": "on"}, "choose one of off"),
        ({"task_loss": "off", "task_loss_requirement": 0.5}, "give one of them"),
        ({"task_loss_requirement": 0.5, "task_loss_requirement_db": 3}, "give one of them"),
        ({"mask_cell_scale": 17}, "at most 16"),
        ({"x" * 5000: 1}, "no setting 'xxx"),
    ],
)
def test_senseless_settings_are_refused_with_a_sentence(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        parse(settings)
    assert len(str(caught.value)) < 600


NAMES = [setting.name for setting in SETTINGS if setting.group != PAGE]


@given(
    st.sampled_from(NAMES),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.floats(), max_size=3),
)
def test_whatever_comes_is_taken_or_refused(name: str, value: object) -> None:
    try:
        gaze, paint = parse({name: value})
    except SettingsError:
        return
    assert isinstance(gaze, GazeSettings) and isinstance(paint, PaintSettings)
