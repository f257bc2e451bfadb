"""Every download read back, and names of files that mean harm."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from playwright.sync_api import Dialog, Download, expect

from autogaze_web.arguments import built_in_model
from autogaze_web.paint import PaintSettings
from autogaze_web.pipeline import FrameResult
from autogaze_web.render import Job, RunFiles, render_video
from autogaze_web.settings import GazeSettings
from drawn_clips import draw
from page_driver import PageDriver

FRAMES, FPS, WIDTH, HEIGHT = 7, 10, 160, 96
PANELS = ("input", "mask", "output")
QUERY = "?max_gaze_tokens_each_frame=12&mask_mode=image-overlay&keyframe_duration=3"
GAZE, PAINT = GazeSettings(max_gaze_tokens_each_frame=12), PaintSettings(mask_mode="image-overlay", keyframe_duration=3)
Pictures = dict[str, list[NDArray[np.uint8]]]
HOSTILE = (
    "../../<img src=x onerror=alert(1)>.webm",
    "safe\u202egpj.exe\u202c\u0000.webm",
    "con.webm",
    f"{'very long ' * 60}.webm",
    "....webm",
    "a\\b:c*d?e|f\"g'h`$(reboot).webm",
    "emoji \U0001f469\u200d\U0001f52c é.webm",
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("clips") / "my holiday.2.webm", FRAMES, WIDTH, HEIGHT, FPS)


@pytest.fixture(scope="module")
def saver(kept: PageDriver, clip: Path) -> PageDriver:
    kept.open(QUERY).run(clip)
    return kept


@pytest.fixture(scope="module")
def pictures(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """What the command line's own code paints: by panel, RGB uint8 [height, width, 3] a frame."""
    painted: Pictures = {panel: [] for panel in PANELS}

    class Watched(RunFiles):
        def add(self, result: FrameResult) -> None:
            for panel, pixels in self._pictures(result).items():
                painted[panel].append(pixels.copy())
            super().add(result)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autogaze_web.render.RunFiles", Watched)
        job = Job(clip, built_in_model(), tmp_path_factory.mktemp("native"), GAZE, PAINT, gif_width=0)
        with ThreadPoolExecutor() as thread:  # Playwright's loop runs in this one
            thread.submit(render_video, job).result()
    return painted


@pytest.fixture
def clean(saver: PageDriver) -> Iterator[PageDriver]:
    """The page, on which nothing new is complained of by the end."""
    yield saver
    assert saver.notices == [] and saver.card.count() == 0


@pytest.mark.parametrize("panel", PANELS)
def test_a_png_is_the_panel_that_the_command_line_paints(clean: PageDriver, pictures: Pictures, panel: str) -> None:
    for index in (FRAMES - 1, 2):
        clean.see("scrub").fill(str(index))
        expect(clean.see(f"canvas-{panel}")).to_have_attribute("aria-label", re.compile(f"frame {index + 1}$"))
        download = clean.save(f"png-{panel}")
        assert download.suggested_filename == f"my holiday.2.{panel}.{index}.png"
        with Image.open(download.path()) as image:
            assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
            assert (np.asarray(image.convert("RGB")) == pictures[panel][index]).all()


def check_gif(data: bytes, wanted: list[NDArray[np.uint8]], size: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(data)) as image:
        frames = [(np.asarray(frame.convert("RGB"), np.int16), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
        assert (image.format, image.size, image.info["loop"]) == ("GIF", size, 0)
    assert [duration for _, duration in frames] == [1000 // FPS] * FRAMES
    for (pixels, _), picture in zip(frames, wanted, strict=True):
        scaled = np.asarray(Image.fromarray(picture).resize(size), np.int16)
        assert np.abs(pixels - scaled).mean() < 6  # 256 colours, dithered


@pytest.mark.parametrize("panel", PANELS)
def test_a_gif_has_every_frame(clean: PageDriver, pictures: Pictures, panel: str) -> None:
    download = clean.save(f"gif-{panel}")
    assert download.suggested_filename == f"my holiday.2.{panel}.gif"
    check_gif(Path(download.path()).read_bytes(), pictures[panel], (WIDTH, HEIGHT))


def test_three_gifs_come_at_once(clean: PageDriver, pictures: Pictures) -> None:
    came: list[Download] = []

    def come(download: Download) -> None:
        came.append(download)

    clean.page.on("download", come)
    clean.see("download-gifs").click()
    clean.wait_for(lambda: len(came) == 3)
    clean.page.remove_listener("download", come)
    assert [download.suggested_filename for download in came] == [f"my holiday.2.{panel}.gif" for panel in PANELS]
    for panel, download in zip(PANELS, came, strict=True):
        check_gif(Path(download.path()).read_bytes(), pictures[panel], (WIDTH, HEIGHT))


def test_the_film_shows_the_panels_side_by_side(clean: PageDriver, pictures: Pictures) -> None:
    download = clean.save("video")
    assert download.suggested_filename == "my holiday.2.autogaze.webm"
    with av.open(download.path()) as film:
        frames = list(film.decode(video=0))
    assert len(frames) == FRAMES
    assert [round(1000 * (frame.time or 0)) for frame in frames] == [round(1000 * index / FPS) for index in range(FRAMES)]
    for index, frame in enumerate(frames):
        shown = frame.to_ndarray(format="rgb24").astype(np.int16)
        assert shown.shape == (HEIGHT, 3 * WIDTH + 4, 3)
        for place, panel in enumerate(PANELS):
            left = place * (WIDTH + 2)
            assert np.abs(shown[:, left : left + WIDTH] - pictures[panel][index]).mean() < 12


def test_the_table_says_what_metrics_and_trace_say(clean: PageDriver) -> None:
    table, metrics, trace = clean.save("csv"), clean.save("metrics"), clean.save("trace")
    names = [download.suggested_filename for download in (table, metrics, trace)]
    assert names == ["my holiday.2.frames.csv", "my holiday.2.metrics.json", "my holiday.2.trace.json"]
    rows = list(csv.DictReader(io.StringIO(Path(table.path()).read_text())))
    numbers, frames = json.loads(Path(metrics.path()).read_bytes()), json.loads(Path(trace.path()).read_bytes())["frames"]
    assert numbers["frames"] == len(rows) == len(frames) == FRAMES
    assert [(int(row["index"]), float(row["time_s"]), int(row["window"])) for row in rows] == [
        (frame["index"], frame["time_s"], frame["window"]) for frame in frames
    ]
    assert [int(row["keyframe"]) for row in rows] == [1, 0, 0, 1, 0, 0, 1]
    assert np.mean([float(row["update_ratio"]) for row in rows]) == pytest.approx(numbers["average_update_ratio"], rel=1e-12)
    assert np.mean([float(row["mask_ratio"]) for row in rows]) == pytest.approx(numbers["average_mask_ratio"], rel=1e-12)
    assert [row["psnr_db"] for row in rows][::3] == ["inf"] * 3
    assert numbers["identical_frames"] == [row["psnr_db"] for row in rows].count("inf")
    for grid, total in numbers["cell_grid_histogram"].items():
        assert sum(int(row[f"tokens_{grid}"]) for row in rows) == total


@pytest.mark.parametrize(("choice", "size"), [("320", (320, 20)), ("65535", (400, 24))])
def test_gifs_are_as_wide_as_chosen(kept: PageDriver, tmp_path: Path, choice: str, size: tuple[int, int]) -> None:
    kept.open("?max_gaze_tokens_each_frame=2").run(draw(tmp_path / "wide.webm", 2, 400, 24))
    kept.see("download-width").select_option(choice)
    with Image.open(io.BytesIO(kept.saved("gif-output"))) as image:
        assert (image.width, getattr(image, "n_frames", 1)) == (size[0], 2) and abs(image.height - size[1]) <= 1


def test_a_download_can_be_stopped(kept: PageDriver, tmp_path: Path) -> None:
    kept.open("?max_gaze_tokens_each_frame=1").run(draw(tmp_path / "longer.webm", 40, 320, 192))
    kept.see("download-gifs").click()
    kept.see("stop-download").click()
    expect(kept.see("download-progress")).to_be_hidden()
    expect(kept.see("download-gifs")).to_be_enabled()
    assert kept.card.count() == 0
    assert kept.metrics()["frames"] == 40  # and the next one comes


def test_hostile_names_are_text_and_safe(kept: PageDriver, tmp_path: Path, clip: Path) -> None:
    alerts: list[str] = []

    def refuse(dialog: Dialog) -> None:
        alerts.append(dialog.message)
        dialog.dismiss()

    kept.page.on("dialog", refuse)
    data = draw(tmp_path / "one.webm", 1).read_bytes()
    kept.open("?max_gaze_tokens_each_frame=1")
    for number, name in enumerate(HOSTILE, 1):
        kept.hand_over({name: data})
        kept.wait_for(lambda: len(kept.heard("done")) == number or kept.card.count())  # noqa: B023
        assert kept.card.count() == 0, (name, kept.card.inner_text())
        kept.wait_until_done()
        assert kept.see("video-name").evaluate("(element) => element.textContent") == name
        assert kept.page.locator("#main img").count() == 0
        saved = kept.save("csv").suggested_filename
        assert saved.endswith("frames.csv") and len(saved) <= 120
        assert not re.search('[\u0000-\u001f<>:"/\\\\|?*\u202a-\u202e\u2066-\u2069\u200b-\u200f]', saved), saved
        assert not saved.startswith((".", "con.")), saved
        assert json.loads(kept.saved("trace"))["source"] == name
    assert alerts == []
