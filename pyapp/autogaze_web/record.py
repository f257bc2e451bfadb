"""What a run says of itself, as JSON values: the head of its trace and its metrics (SEMANTICS §5; docs/api.md describes both)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from autogaze_web.caches import tile_batch
from autogaze_web.config import ModelConfig
from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.layout import Layout
from autogaze_web.metrics import RunNumbers
from autogaze_web.paint import PaintSettings, scale_colours
from autogaze_web.runtime import DEFAULT_LIMITS, Limits
from autogaze_web.settings import GazeSettings
from autogaze_web.target import target_layout, to_target
from autogaze_web.tiles import Tiling

METRICS_SCHEMA = "autogaze-metrics/1"


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run before its first frame; with target_scales everything is told on the target's grids."""

    source: str  # the video's file name, never a path
    fps: float
    model: str  # a folder's name, never a path
    weights_sha256: str
    config: ModelConfig
    gaze: GazeSettings
    paint: PaintSettings
    backend: str
    versions: Mapping[str, str]
    limits: Limits = DEFAULT_LIMITS  # of what computes

    @property
    def layout(self) -> Layout:
        """The vocabulary of the ids that are told."""
        return self.config.layout if self.gaze.target_scales is None else target_layout(self.gaze, self.config)

    @property
    def inference_mode(self) -> str:
        return self.gaze.mode if self.gaze.target_scales is None else "target"

    def told(self, gaze: FrameGaze, tiling: Tiling) -> FrameGaze:
        """A frame's gaze on `layout`."""
        return gaze if self.gaze.target_scales is None else to_target(gaze, tiling, self.config.layout, self.layout)

    def tiling(self, tiling: Tiling) -> dict[str, object]:
        """What the rows of `told` stand for: a tile each, row-major; the whole frame where there is a target."""
        columns, rows = (tiling.columns, tiling.rows) if self.gaze.target_scales is None else (1, 1)
        return {"mode": self.inference_mode, "width": tiling.width, "height": tiling.height, "columns": columns, "rows": rows}

    def tile_batch(self, tiling: Tiling) -> int:
        """Tiles decoded together."""
        budgets, _ = self.gaze.stop_rule(self.config)
        return min(self.gaze.tile_batch or tile_batch(self.config, budgets, tiling.tiles, self.limits), tiling.tiles)

    def trace_head(self, tiling: Tiling) -> dict[str, object]:
        """What a trace says before its frames; tiling: of the first frame."""
        layout, (budgets, threshold) = self.layout, self.gaze.stop_rule(self.config)
        return {
            "source": self.source,
            "fps": self.fps,
            "model": self.model,
            "weights_sha256": self.weights_sha256,
            "layout": {
                "scales": list(layout.scales),
                "patch": layout.patch,
                "grids": list(layout.grids),
                "offsets": list(layout.offsets),
                "cells": layout.cells,
            },
            "tiling": self.tiling(tiling),
            "window": {"policy": self.gaze.window, "clip_len": self.gaze.frames_each_window(self.config)},
            "max_gaze_tokens_each_frame": same(budgets),
            "task_loss_requirement": threshold,
            "settings": {"gaze": asdict(self.gaze), "paint": asdict(self.paint)},
        }

    def metrics(self, tiling: Tiling, numbers: RunNumbers) -> dict[str, object]:
        """What metrics.json says, but for files, warnings and time; tiling: of the first frame."""
        budgets, threshold = self.gaze.stop_rule(self.config)
        colours = zip(self.layout.grids, scale_colours(self.config.layout), strict=True)
        decibels = self.gaze.task_loss_requirement_db
        return {
            "schema": METRICS_SCHEMA,
            "source": self.source,
            "model": self.model,
            "weights_sha256": self.weights_sha256,
            "backend": self.backend,
            "inference_mode": self.inference_mode,
            "visualization_mode": self.paint.output_mode,
            "mask_mode": self.paint.mask_mode,
            "geometry": self.paint.geometry,
            "width": tiling.width,
            "height": tiling.height,
            "model_input_size": self.config.input_size,
            "fps": self.fps,
            "window": self.gaze.window,
            "clip_len": self.gaze.frames_each_window(self.config),
            "max_gaze_tokens_each_frame": same(budgets),
            "task_loss_requirement": threshold,
            **({} if decibels is None else {"task_loss_requirement_db": decibels}),
            "tile_columns": tiling.columns,
            "tile_rows": tiling.rows,
            "tile_count": tiling.tiles,
            "tile_batch_size": self.tile_batch(tiling),
            "fixation_budget_each_frame": same([budget * tiling.tiles for budget in budgets]),
            "scales": list(self.layout.scales),
            "num_vision_tokens_each_frame": self.layout.cells,
            "mask_cell_scale": self.paint.mask_cell_scale,
            "blend_alpha": self.paint.blend_alpha,
            "keyframe_duration": self.paint.keyframe_duration,
            **numbers.summary(),
            "mask_palette": {f"{grid}x{grid}": "#{:02x}{:02x}{:02x}".format(*colour) for grid, colour in colours},
            "versions": dict(self.versions),
        }


def same(values: Sequence[int]) -> int | list[int]:
    """One value where a window's frames share it, else the list."""
    return values[0] if len(set(values)) == 1 else list(values)


def json_text(value: object) -> str:
    """A JSON document for people to read too; floats that JSON does not have become strings: "inf", "-inf", "nan"."""
    return json.dumps(_finite(value), indent=1, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
