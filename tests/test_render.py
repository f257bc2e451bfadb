"""render.py: the files of a run against a direct run of the pipeline, and odd videos."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autogaze_web.errors import SettingsError
from autogaze_web.metrics import FrameNumbers
from autogaze_web.paint import GEOMETRIES, MASK_MODES, OUTPUT_MODES, PaintSettings
from autogaze_web.record import json_text
from autogaze_web.render import Job, Stages, fit_size, render_frames, render_video
from autogaze_web.settings import GazeSettings
from rendered import ALL, FEW, directly, gif_frames, loaded, made_up, opened_run
from video_files import cut, noise, pixels, read, write

KEYS = {
    "source",
    "model",
    "backend",
    "inference_mode",
    "visualization_mode",
    "width",
    "height",
    "fps",
    "frames",
    "clip_len",
    "max_gaze_tokens_each_frame",
    "task_loss_requirement",
    "tile_count",
    "tile_batch_size",
    "fixation_budget_each_frame",
    "scales",
    "num_vision_tokens_each_frame",
    "mask_cell_scale",
    "blend_alpha",
    "keyframe_duration",
    "average_update_ratio",
    "min_update_ratio",
    "max_update_ratio",
    "average_psnr_db",
    "min_psnr_db",
    "max_psnr_db",
    "average_mask_ratio",
    "final_update_ratio_ema",
    "final_mask_ratio_ema",
    "final_psnr_db_ema",
    "positive_fixations",
    "cell_grid_histogram",
    "mask_palette",
    "output_files",
    "warnings",
    "versions",
    "timing",
    "mask_mode",
    "geometry",
    "model_input_size",
}


@pytest.mark.parametrize("mode", ["resize", "tiled"])
def test_files_say_what_the_pipeline_gives(tiny_model: Path, tmp_path: Path, mode: str) -> None:
    pictures, gaze, paint = noise(6, 96, 70), GazeSettings(mode=mode, gazing_ratio=0.4), PaintSettings(keyframe_duration=4)
    calls: list[tuple[int, int | None]] = []
    job = Job(write(tmp_path / "clip.mkv", pictures), tiny_model, tmp_path / "out", gaze, paint)
    outcome = render_video(job, lambda done, total, fps: calls.append((done, total)))
    assert (outcome.frames, outcome.warnings, {file.name for file in outcome.files}) == (6, [], ALL)
    assert calls == [(done, 6) for done in range(7)]
    assert {path.name for path in job.out.iterdir()} == ALL
    metrics, trace = loaded(job.out)
    wanted = list(directly(tiny_model, pictures, gaze, paint))
    assert [frame["ids"] for frame in trace["frames"]] == [seen.ids for seen, _ in wanted]
    assert [frame["padded"] for frame in trace["frames"]] == [[[int(not v) for v in row] for row in seen.valid] for seen, _ in wanted]
    assert [frame["num_gazing"] for frame in trace["frames"]] == [seen.slots for seen, _ in wanted]
    assert [(frame["index"], frame["time_s"], frame["window"]) for frame in trace["frames"]] == [(i, i / 10, i // 4) for i in range(6)]
    check_numbers(metrics, [numbers for _, numbers in wanted])
    assert metrics["positive_fixations"] == sum(len(seen.cells(tile)) for seen, _ in wanted for tile in range(len(seen.ids)))
    for name in ("input", "mask", "output"):
        assert gif_frames(job.out / f"{name}.gif") == ((96, 70), 6)


def check_numbers(metrics: dict[str, Any], numbers: list[FrameNumbers]) -> None:
    for name in ("update_ratio", "mask_ratio", "psnr_db"):
        values = [value for n in numbers if math.isfinite(value := getattr(n, name))]
        assert metrics[f"average_{name}"] == pytest.approx(sum(values) / len(values))
        assert 0 <= metrics[f"final_{name}_ema"] <= max(values)
        if name != "mask_ratio":
            assert (metrics[f"min_{name}"], metrics[f"max_{name}"]) == (min(values), max(values))
    assert metrics["identical_frames"] == sum(math.isinf(n.psnr_db) for n in numbers) == 2
    assert metrics["max_update_ratio"] == 1.0


def test_metrics_describe_the_run_and_no_path(tiny_model: Path, tmp_path: Path) -> None:
    gaze = GazeSettings(mode="tiled", gazing_ratio=(0.1, 0.2, 0.3, 0.4), task_loss_requirement_db=60.0, tile_batch=4)
    render_video(Job(write(tmp_path / "clip.mkv", noise(2, 150, 70)), tiny_model, tmp_path / "out", gaze, PaintSettings(blend_alpha=0.5)))
    metrics, trace = loaded(tmp_path / "out")
    assert metrics.keys() >= KEYS
    assert str(tmp_path) not in json.dumps([metrics, trace])
    wanted = {
        "source": "clip.mkv",
        "model": "tiny",
        "inference_mode": "tiled",
        "visualization_mode": "interframe",
        "width": 150,
        "height": 70,
        "fps": 10.0,
        "frames": 2,
        "clip_len": 4,
        "max_gaze_tokens_each_frame": [2, 4, 6, 8],
        "task_loss_requirement": 10**-3,
        "task_loss_requirement_db": 60.0,
        "tile_count": 6,
        "tile_batch_size": 4,
        "fixation_budget_each_frame": [12, 24, 36, 48],
        "scales": [32, 64],
        "num_vision_tokens_each_frame": 20,
        "mask_palette": {"2x2": "#ffb400", "4x4": "#3cdc78"},
        "blend_alpha": 0.5,
        "warnings": [],
    }
    assert {key: metrics[key] for key in wanted} == wanted
    assert set(metrics["output_files"]) == ALL
    assert sum(metrics["cell_grid_histogram"].values()) == metrics["positive_fixations"]
    assert trace["schema"] == "autogaze-trace/1" and trace["weights_sha256"] == metrics["weights_sha256"]
    assert trace["layout"] == {"scales": [32, 64], "patch": 16, "grids": [2, 4], "offsets": [0, 4, 20], "cells": 20}
    assert trace["tiling"] == {"mode": "tiled", "width": 150, "height": 70, "columns": 3, "rows": 2}
    assert trace["settings"]["gaze"]["gazing_ratio"] == [0.1, 0.2, 0.3, 0.4]


def test_target_scales_are_told_on_the_targets_grids(tiny_model: Path, tmp_path: Path) -> None:
    pictures, gaze = noise(2, 80, 60), GazeSettings(target_scales=(64, 128), gazing_ratio=0.5)
    render_video(Job(write(tmp_path / "clip.mkv", pictures), tiny_model, tmp_path / "out", gaze))
    metrics, trace = loaded(tmp_path / "out")
    assert trace["tiling"] == {"mode": "target", "width": 80, "height": 60, "columns": 1, "rows": 1}
    assert (trace["layout"]["grids"], trace["layout"]["cells"], metrics["num_vision_tokens_each_frame"]) == ([4, 8], 80, 80)
    seen = [gaze for gaze, _ in directly(tiny_model, pictures, gaze, PaintSettings())]
    for frame, direct in zip(trace["frames"], seen, strict=True):
        (ids,) = frame["ids"]
        assert ids == sorted(set(ids)) and frame["num_gazing"] == len(ids) == sum(len(direct.cells(tile)) for tile in range(4))
        assert sum(token < 16 for token in ids) == sum(token < 4 for tile in range(4) for token in direct.cells(tile))
    assert (metrics["tile_count"], metrics["inference_mode"], list(metrics["cell_grid_histogram"])) == (4, "target", ["4x4", "8x8"])
    with pytest.raises(SettingsError, match="same multiple"):
        render_video(Job(tmp_path / "clip.mkv", tiny_model, tmp_path / "other", GazeSettings(target_scales=(64, 96))))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("count", "width", "height", "channels"),
    [(1, 64, 48, 3), (15, 32, 32, 3), (2, 63, 37, 3), (2, 40, 130, 3), (2, 1, 1, 3), (2, 700, 2, 3), (2, 50, 40, 4)],
)
def test_odd_videos(tiny_model: Path, tmp_path: Path, count: int, width: int, height: int, channels: int) -> None:
    kind = "ffv1 bgra" if channels == 4 else "ffv1 bgr0"
    video = write(tmp_path / "clip.mkv", noise(count, width, height, channels), kind)
    render_video(Job(video, tiny_model, tmp_path / "out", FEW, gif_width=100))
    metrics, trace = loaded(tmp_path / "out")
    assert (metrics["frames"], len(trace["frames"]), metrics["width"], metrics["height"]) == (count, count, width, height)
    shape = (min(width, 100), height if width <= 100 else max(1, round(height * 100 / width)))
    assert gif_frames(tmp_path / "out" / "output.gif") == (shape, count)


@pytest.mark.parametrize("mask", MASK_MODES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("size", "output"), [((64, 48), OUTPUT_MODES[0]), ((1, 1), OUTPUT_MODES[1])])
def test_every_way_to_paint(tiny_model: Path, tmp_path: Path, output: str, mask: str, geometry: str, size: tuple[int, int]) -> None:
    paint = PaintSettings(output, mask, geometry)
    render_video(Job(write(tmp_path / "clip.mkv", noise(2, *size)), tiny_model, tmp_path / "out", FEW, paint))
    metrics, _ = loaded(tmp_path / "out")
    assert (metrics["visualization_mode"], metrics["mask_mode"], metrics["geometry"]) == (output, mask, geometry)
    assert (metrics["average_update_ratio"] == 1.0) == (output == "full-blend")
    with Image.open(tmp_path / "out" / "mask.gif") as image:
        assert ("transparency" in image.info) == (mask == "image-mask-only")


def test_identical_output_is_inf_in_words(tiny_model: Path, tmp_path: Path) -> None:
    render_video(Job(write(tmp_path / "clip.mkv", noise(1)), tiny_model, tmp_path / "out", FEW))
    metrics, _ = loaded(tmp_path / "out")
    assert (metrics["average_psnr_db"], metrics["min_psnr_db"], metrics["final_psnr_db_ema"]) == ("inf", "inf", None)
    assert json.loads(json_text({"a": [math.nan, (1.5, -math.inf)]})) == {"a": ["nan", [1.5, "-inf"]]}


@pytest.mark.parametrize(("suffix", "kind"), [("mp4", "libx264 yuv420p"), ("webm", "libvpx-vp9 yuv420p"), ("mkv", "ffv1 yuv444p")])
def test_decoded_colours_reach_the_pipeline(tiny_model: Path, tmp_path: Path, suffix: str, kind: str) -> None:
    video = write(tmp_path / f"clip.{suffix}", noise(3, 62, 38), kind)
    render_video(Job(video, tiny_model, tmp_path / "out", FEW))
    metrics, trace = loaded(tmp_path / "out")
    wanted = list(directly(tiny_model, [pixels(frame) for frame in read(video)[1]], FEW, PaintSettings()))
    assert [frame["ids"] for frame in trace["frames"]] == [seen.ids for seen, _ in wanted]
    assert metrics["min_psnr_db"] == min(numbers.psnr_db for _, numbers in wanted)
    with Image.open(tmp_path / "out" / "input.gif") as image:
        assert "transparency" not in image.info


def test_rotated_video_is_seen_upright(tiny_model: Path, tmp_path: Path) -> None:
    video = write(tmp_path / "clip.mov", noise(2, 64, 32), "png rgb24", prepare=lambda stream: stream.set_display_rotation(-90))
    render_video(Job(video, tiny_model, tmp_path / "out", FEW))
    metrics, _ = loaded(tmp_path / "out")
    assert (metrics["width"], metrics["height"]) == (32, 64)


def test_start_and_limit(tiny_model: Path, tmp_path: Path) -> None:
    video = write(tmp_path / "clip.mkv", noise(9))
    outcome = render_video(Job(video, tiny_model, tmp_path / "out", FEW, gif_width=0, start=3, limit=4))
    metrics, trace = loaded(tmp_path / "out")
    assert ([frame["index"] for frame in trace["frames"]], metrics["frames"]) == ([3, 4, 5, 6], 4)
    assert {file.name for file in outcome.files} == {path.name for path in (tmp_path / "out").iterdir()} == {"metrics.json", "trace.json"}
    with pytest.raises(SettingsError, match=r"start is 9, and clip\.mkv has no more frames"):
        render_video(Job(video, tiny_model, tmp_path / "none", FEW, start=9))
    assert not (tmp_path / "none").exists()


def test_a_truncated_video_is_rendered_as_far_as_it_goes(tiny_model: Path, tmp_path: Path) -> None:
    video = cut(write(tmp_path / "clip.mkv", noise(12)), 0.6)
    outcome = render_video(Job(video, tiny_model, tmp_path / "out", FEW))
    metrics, trace = loaded(tmp_path / "out")
    assert 0 < outcome.frames == metrics["frames"] == len(trace["frames"]) < 12
    assert outcome.warnings == metrics["warnings"] and "cut off" in " ".join(outcome.warnings)


def test_a_change_of_size_begins_again_and_is_told(tiny_model: Path, tmp_path: Path) -> None:
    sizes = [(60, 40), (60, 40), (90, 130), (90, 130), (60, 40)]
    stages = Stages()
    with opened_run(tiny_model, tmp_path / "out", stages) as (runtime, gazer, painter, files):
        asyncio.run(render_frames(made_up(runtime, sizes), gazer, painter, files, stages))
        files.finish(files.warnings, {})
    metrics, trace = loaded(tmp_path / "out")
    assert [frame["window"] for frame in trace["frames"]] == [0, 0, 1, 1, 2]
    assert [frame.get("tiling", trace["tiling"])["width"] for frame in trace["frames"]] == [width for width, _ in sizes]
    for frame in trace["frames"]:
        tiling = frame.get("tiling", trace["tiling"])
        assert len(frame["ids"]) == tiling["columns"] * tiling["rows"]
    assert ["tiling" in frame for frame in trace["frames"]] == [False, False, True, True, False]
    assert metrics["size_changes"] == 2
    assert metrics["warnings"] == files.warnings and "60×40 becomes 90×130 at frame 2" in files.warnings[0]
    assert gif_frames(tmp_path / "out" / "input.gif") == ((60, 40), 5)
    assert all(seconds > 0 for stage, seconds in stages.seconds.items() if stage != "decode")


def test_pictures_of_another_shape_get_bars() -> None:
    white = np.full((20, 40, 3), 255, np.uint8)
    assert fit_size(white, (40, 20)) is white
    assert fit_size(white, (20, 10)).min() == 255
    tall = fit_size(white, (20, 20))
    assert tall.shape == (20, 20, 3) and tall[10].min() == 255 and tall[0].max() == tall[-1].max() == 0
    seen_through = fit_size(np.full((20, 40, 4), 255, np.uint8), (20, 20))
    assert seen_through[0].max() == 0 and seen_through[10].min() == 255
