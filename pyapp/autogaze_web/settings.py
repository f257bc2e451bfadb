"""What a person may set about gazing, checked, and what it means for a configuration (SEMANTICS §4, options)."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from autogaze_web.config import ModelConfig
from autogaze_web.errors import SettingsError
from autogaze_web.paint import GEOMETRIES, MASK_MODES, OUTPUT_MODES, PaintSettings
from autogaze_web.resample import float32
from autogaze_web.tiles import MODES

WINDOWS = ("chunk16", "rolling")
MOST_DB = 200  # either way: float32 holds such losses, and no model predicts others


@dataclass(frozen=True)
class GazeSettings:
    """How the model looks. None leaves a choice to the checkpoint's configuration, as upstream does."""

    mode: str = "resize"  # one of tiles.MODES
    window: str = "chunk16"  # one of WINDOWS: independent chunks of clip_len frames, or the last clip_len frames at any time
    clip_len: int | None = None  # frames of a window; None: the configuration's max_num_frames
    gazing_ratio: float | tuple[float, ...] | None = None  # share of a frame's cells; a list has one value a frame of the window
    max_gaze_tokens_each_frame: int | None = None  # the same as a count, per tile
    task_loss_requirement: float | None = None  # a frame ends when the predicted loss is at or below
    task_loss_requirement_db: float | None = None  # the same as -20·log10
    tile_batch: int = 0  # tiles decoded together; 0: all
    target_scales: tuple[int, ...] | None = None  # scales of another encoder, whose last is the square the frame is resized to
    target_patch_size: int = 16

    def __post_init__(self) -> None:
        one_of("mode", self.mode, MODES)
        one_of("window", self.window, WINDOWS)
        if self.clip_len is not None and self.clip_len < 1:
            raise SettingsError(f"clip_len is {self.clip_len}; a window has at least one frame.")
        ratios = self.gazing_ratio if isinstance(self.gazing_ratio, tuple) else (self.gazing_ratio,)
        for ratio in ratios:
            if ratio is not None and not 0 <= ratio <= 1:
                raise SettingsError(f"gazing_ratio is {ratio}; it is a share of a frame's cells, from 0 to 1.")
        if self.gazing_ratio is not None and self.max_gaze_tokens_each_frame is not None:
            raise SettingsError("gazing_ratio and max_gaze_tokens_each_frame both set the budget; give one of them.")
        if self.max_gaze_tokens_each_frame is not None and self.max_gaze_tokens_each_frame < 1:
            raise SettingsError(f"max_gaze_tokens_each_frame is {self.max_gaze_tokens_each_frame}; it is at least 1.")
        if self.task_loss_requirement is not None and self.task_loss_requirement_db is not None:
            raise SettingsError("task_loss_requirement and task_loss_requirement_db are two ways to say one thing; give one of them.")
        for name in ("task_loss_requirement", "task_loss_requirement_db"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise SettingsError(f"{name} is {value}; it is a finite number.")
        if self.task_loss_requirement_db is not None and abs(self.task_loss_requirement_db) > MOST_DB:
            raise SettingsError(f"task_loss_requirement_db is {self.task_loss_requirement_db}; it goes from -{MOST_DB} to {MOST_DB}.")
        if self.target_scales is not None and self.mode == "tiled":
            raise SettingsError("target_scales and the mode tiled each say how a frame is cut into tiles; give one of them.")
        if self.tile_batch < 0:
            raise SettingsError(f"tile_batch is {self.tile_batch}; it is a number of tiles, or 0 for all.")

    def frames_each_window(self, config: ModelConfig) -> int:
        """clip_len; at most what the network was made for."""
        if self.clip_len is not None and self.clip_len > config.max_num_frames:
            raise SettingsError(f"clip_len is {self.clip_len}, and this model looks at {config.max_num_frames} frames at most.")
        return self.clip_len or config.max_num_frames

    @property
    def threshold(self) -> float | None:
        """The task loss asked for, whichever way it was said: 10^(-dB / 20)."""
        if self.task_loss_requirement_db is not None:
            return float(10 ** (-self.task_loss_requirement_db / 20))
        return self.task_loss_requirement

    def stop_rule(self, config: ModelConfig) -> tuple[list[int], float | None]:
        """Upstream's matrix of options: the budget of each frame of a window, and the task loss at which a frame ends, or None.

        A budget alone switches the task loss off; a task loss alone allows every cell; neither takes the configuration's two.
        """
        frames, cells = self.frames_each_window(config), config.cells_each_frame
        ratios: float | tuple[float, ...]
        if self.max_gaze_tokens_each_frame is not None:
            return [min(self.max_gaze_tokens_each_frame, cells)] * frames, self.threshold
        if self.gazing_ratio is not None:
            ratios, threshold = self.gazing_ratio, self.threshold
        elif self.threshold is not None:
            ratios, threshold = 1.0, self.threshold
        else:
            ratios, threshold = config.gazing_ratio, config.task_loss_requirement
        if isinstance(ratios, float | int):
            ratios = (ratios,) * frames
        if len(ratios) != frames:
            raise SettingsError(f"gazing_ratio lists {len(ratios)} values; a window has {frames} frames, and each needs one.")
        return [budget(ratio, cells) for ratio in ratios], threshold


def budget(ratio: float, cells: int) -> int:
    """The tokens a share of the cells allows, at least one; truncated after a product in float32, as upstream does."""
    return max(int(float32(float32(ratio) * cells)), 1)


def check_paint(settings: PaintSettings) -> PaintSettings:
    """The same settings; SettingsError where a value makes no sense."""
    one_of("output_mode", settings.output_mode, OUTPUT_MODES)
    one_of("mask_mode", settings.mask_mode, MASK_MODES)
    one_of("geometry", settings.geometry, GEOMETRIES)
    if settings.keyframe_duration < 0:
        raise SettingsError(f"keyframe_duration is {settings.keyframe_duration}; it is a number of frames, or 0 for the first only.")
    if not 0 <= settings.blend_alpha <= 1:
        raise SettingsError(f"blend_alpha is {settings.blend_alpha}; it goes from 0 to 1.")
    if not 0 < settings.mask_cell_scale <= 16:
        raise SettingsError(f"mask_cell_scale is {settings.mask_cell_scale}; it is above 0 and at most 16.")
    return settings


def one_of(name: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")
