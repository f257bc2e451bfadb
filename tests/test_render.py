"""render.py: the files of a run against a direct run of the pipeline, odd videos, and whole files only."""

from __future__ import annotations

import asyncio
import json
import math
import tracemalloc
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from autogaze_web.decode import FrameGaze
from autogaze_web.errors import MissingError, NotRunError, SettingsError, VideoError
from autogaze_web.gif import Pixels
from autogaze_web.metrics import FrameNumbers
from autogaze_web.model_folder import read_model
from autogaze_web.paint import GEOMETRIES, MASK_MODES, OUTPUT_MODES, PaintSettings
from autogaze_web.pipeline import FrameResult, Gazer, Painter, SourceFrame
from autogaze_web.record import RunRecord, json_text
from autogaze_web.render import Job, RunFiles, Stages, TimedGazer, TimedPainter, fit_size, read_frames, render_frames, render_video
from autogaze_web.runtime import Tensor
from autogaze_web.runtimes.native import NativeRuntime
from autogaze_web.settings import GazeSettings
from autogaze_web.video import open_video
from autogaze_web.whole_files import whole_files, write_whole
from test_video import cut, noise, write

ALL = {"metrics.json", "trace.json", "input.gif", "mask.gif", "output.gif"}
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
FEW = GazeSettings(max_gaze_tokens_each_frame=6)


def loaded(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(metrics, trace), both strict JSON."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    metrics, trace = (json.loads((folder / name).read_text(), parse_constant=refuse) for name in ("metrics.json", "trace.json"))
    return metrics, trace


def gif_frames(path: Path) -> tuple[tuple[int, int], int]:
    with Image.open(path) as image:
        return image.size, int(getattr(image, "n_frames", 1))


def directly(model: Path, pictures: list[Pixels], gaze: GazeSettings, paint: PaintSettings) -> Iterator[tuple[FrameGaze, FrameNumbers]]:
    """What the pipeline gives without any of render.py."""
    opened = read_model(model)
    runtime = NativeRuntime(opened)
    gazer, painter = Gazer(runtime, opened.checkpoint, gaze), Painter(runtime, opened.checkpoint.config.layout, paint)
    for index, pixels in enumerate(pictures):
        frame = SourceFrame(index, 0.0, pixels.shape[1], pixels.shape[0], runtime.adopt(pixels))
        seen = asyncio.run(gazer.gaze(frame))
        assert gazer.tiling is not None
        yield seen, asyncio.run(painter.paint(frame, gazer.tiling, seen)).numbers


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


@contextmanager
def opened_run(model_folder: Path, folder: Path, stages: Stages) -> Iterator[tuple[NativeRuntime, Gazer, Painter, RunFiles]]:
    """The parts of a run, for frames that come from no video."""
    model, gaze, paint = read_model(model_folder), GazeSettings(mode="tiled", gazing_ratio=0.2), PaintSettings()
    runtime, config = NativeRuntime(model), model.checkpoint.config
    record = RunRecord("made-up", 10.0, model.name, model.checkpoint.sha256, config, gaze, paint, runtime.backend, {})
    with whole_files(folder) as partial, ExitStack() as stack:
        files = RunFiles(partial, record, 100, runtime, stack)
        yield runtime, TimedGazer(stages, runtime, model, gaze), TimedPainter(stages, runtime, model, paint), files


async def made_up(runtime: NativeRuntime, sizes: list[tuple[int, int]]) -> AsyncGenerator[SourceFrame, None]:
    for index, (width, height) in enumerate(sizes):
        (picture,) = noise(1, width, height)
        yield SourceFrame(index, index / 10, width, height, runtime.adopt(picture))


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


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, VideoError])
def test_a_run_that_ends_early_changes_nothing(tiny_model: Path, tmp_path: Path, error: type[BaseException]) -> None:
    video, out = write(tmp_path / "clip.mkv", noise(5)), tmp_path / "out"
    render_video(Job(video, tiny_model, out, FEW))
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def stop(done: int, total: int | None, fps: float) -> None:
        if done == 2:
            raise error

    with pytest.raises(error):
        render_video(Job(video, tiny_model, out, FEW, start=1), stop)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(error):
        render_video(Job(video, tiny_model, tmp_path / "a" / "new", FEW, start=1), stop)
    assert not (tmp_path / "a" / "new").exists()


def test_files_of_an_earlier_run_go(tiny_model: Path, tmp_path: Path) -> None:
    video, out = write(tmp_path / "clip.mkv", noise(1)), tmp_path / "out"
    render_video(Job(video, tiny_model, out, FEW))
    (out / "mine.gif").write_text("stays")
    with pytest.raises(SettingsError, match="no more frames"):
        render_video(Job(video, tiny_model, out, FEW, gif_width=0, start=1))
    assert {path.name for path in out.iterdir()} == {*ALL, "mine.gif"}
    render_video(Job(video, tiny_model, out, FEW, gif_width=0))
    assert {path.name for path in out.iterdir()} == {"metrics.json", "trace.json", "mine.gif"}


def test_the_video_is_no_file_of_an_earlier_run(tiny_model: Path, tmp_path: Path) -> None:
    video = write(tmp_path / "clip.mkv", noise(1)).rename(tmp_path / "output.gif")
    before = video.read_bytes()
    for gif_width in (0, 100):
        with pytest.raises(SettingsError, match=r"output\.gif is in the folder for the results"):
            render_video(Job(video, tiny_model, tmp_path, FEW, gif_width=gif_width))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


class Lent:
    """A runtime that only notes which tensors are not given back."""

    def __init__(self) -> None:
        self.tensors: list[object] = []

    def adopt(self, pixels: Pixels) -> object:
        self.tensors.append(tensor := object())
        return tensor

    def release(self, tensors: list[object]) -> None:
        for tensor in tensors:
            self.tensors.remove(tensor)


def test_frames_are_released_one_by_one_and_when_reading_ends_early(tmp_path: Path) -> None:
    runtime = Lent()
    with open_video(write(tmp_path / "clip.mkv", noise(3))) as reader:

        async def read() -> None:
            frames = read_frames(reader, cast(NativeRuntime, runtime), Stages(), Job(tmp_path, tmp_path, tmp_path))
            for _ in range(2):
                assert [(await anext(frames)).pixels] == runtime.tensors
            await frames.aclose()

        asyncio.run(read())
    assert not runtime.tensors


@pytest.mark.parametrize("part", ["gaze", "files"])
def test_an_error_in_mid_run_gives_everything_back(tiny_model: Path, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def frames() -> AsyncGenerator[SourceFrame, None]:
        try:
            async for frame in made_up(runtime, [(64, 48)] * 3):
                yield frame
        finally:
            given_back.append("frames")

    async def fail_to_gaze(frame: SourceFrame) -> FrameGaze:
        raise KeyboardInterrupt

    def fail_to_write(result: FrameResult) -> None:
        panels.extend([result.panels.mask, result.panels.output])
        raise KeyboardInterrupt

    given_back: list[str] = []
    panels: list[Tensor] = []
    released: list[Tensor] = []
    stages = Stages()
    with pytest.raises(KeyboardInterrupt), opened_run(tiny_model, tmp_path / "out", stages) as (runtime, gazer, painter, files):
        monkeypatch.setattr(runtime, "release", released.extend)
        monkeypatch.setattr(gazer, "release", lambda: given_back.append("gazer"))
        monkeypatch.setattr(painter, "release", lambda: given_back.append("painter"))
        monkeypatch.setattr(*((gazer, "gaze", fail_to_gaze) if part == "gaze" else (files, "add", fail_to_write)))
        asyncio.run(render_frames(frames(), gazer, painter, files, stages))
    assert set(given_back) == {"frames", "gazer", "painter"}
    assert len(panels) == (0 if part == "gaze" else 2)
    assert all(any(panel is tensor for tensor in released) for panel in panels)


def test_one_whole_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", "1\n")
    write_whole(tmp_path / "a.json", "2\n")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "2\n")]


def test_memory_does_not_grow_with_length(tiny_model: Path, tmp_path: Path) -> None:
    video = write(tmp_path / "clip.mkv", noise(5, 160, 120) * 5)

    def peak(limit: int) -> int:
        tracemalloc.start()
        render_video(Job(video, tiny_model, tmp_path / "out", FEW, limit=limit))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(25) < peak(5) + 160 * 120 * 4, "twenty more frames cost less than the pixels of one"


def test_a_device_that_is_not_there_is_not_run(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(NotRunError, match=r"cuda was asked for and is not there.*CUDAExecutionProvider"):
        render_video(Job(write(tmp_path / "clip.mkv", noise(1)), tiny_model, tmp_path / "out", FEW, device="cuda"))
    assert not (tmp_path / "out").exists()
    assert not issubclass(NotRunError, MissingError)
