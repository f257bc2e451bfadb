"""A real file on the real page: three panels, and the numbers of the command line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import expect

from drawn_clips import draw
from page_driver import PageDriver
from told_by_command_line import ROOT, check_traces, numbers, told

SAMPLE = ROOT / "web" / "sample" / "sample.webm"
BUDGET = "max_gaze_tokens_each_frame"
RUNS: dict[str, tuple[str, list[str], dict[str, int]]] = {  # query, options, clip
    "resize": ("", [], {"frames": 6}),
    "tiled": (f"?mode=tiled&{BUDGET}=12", ["--mode", "tiled", "--max-gaze-tokens", "12"], {"frames": 2, "width": 300, "height": 260}),
    "tiled in batches": (
        f"?mode=tiled&{BUDGET}=10&tile_batch=3",
        ["--mode", "tiled", "--max-gaze-tokens", "10", "--tile-batch", "3"],
        {"frames": 2, "width": 300, "height": 260},
    ),
    "rolling": (
        f"?window=rolling&clip_len=3&{BUDGET}=10",
        ["--window", "rolling", "--clip-len", "3", "--max-gaze-tokens", "10"],
        {"frames": 6},
    ),
    "loss in decibels": ("?task_loss_requirement_db=2&clip_len=2", ["--task-loss-db", "2", "--clip-len", "2"], {"frames": 3}),
    "another encoder's scales": (
        "?target_scales=64%2B128%2B224%2B448&gazing_ratio=0.1",
        ["--target-scales", "64+128+224+448", "--gazing-ratio", "0.1"],
        {"frames": 2},
    ),
    "painted otherwise": (
        f"?output_mode=full-blend&mask_mode=scale-rows&geometry=effective&blend_alpha=0.7&mask_cell_scale=0.6&{BUDGET}=20",
        [
            *("--output-mode", "full-blend", "--mask-mode", "scale-rows", "--geometry", "effective"),
            *("--alpha", "0.7", "--cell-scale", "0.6", "--max-gaze-tokens", "20"),
        ],
        {"frames": 3},
    ),
    "keyframes": (
        f"?keyframe_duration=2&mask_mode=image-mask-only&geometry=deduplicated&{BUDGET}=10",
        ["--keyframe", "2", "--mask-mode", "image-mask-only", "--geometry", "deduplicated", "--max-gaze-tokens", "10"],
        {"frames": 5},
    ),
}


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("clips") / "moving squares.webm", 3)


def shown(driver: PageDriver, panel: str, size: tuple[int, int]) -> NDArray[np.int16]:
    """What is on the screen of a panel, scaled to the clip's size."""
    picture = Image.open(io.BytesIO(driver.page.locator(f"#canvas-{panel}").screenshot())).convert("RGB")
    return np.asarray(picture.resize(size, Image.Resampling.BOX), np.int16)


def last_frame(clip: Path) -> NDArray[np.int16]:
    with av.open(clip) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][-1].astype(np.int16)


@pytest.mark.parametrize("case", RUNS)
def test_the_numbers_are_the_command_lines(kept: PageDriver, tmp_path: Path, case: str) -> None:
    query, options, size = RUNS[case]
    clip = draw(tmp_path / "clip.webm", **size)
    native = told(clip, tmp_path / "out", *options)
    kept.open(query).run(clip)
    metrics = kept.metrics()
    assert numbers(metrics) == numbers(native.metrics)
    assert metrics["backend"].startswith("WASM")
    assert metrics["warnings"] == native.metrics["warnings"] == []
    check_traces(kept.trace(), native.trace)
    assert kept.notices == []


def test_the_beginning_of_the_sample_clip_too(kept: PageDriver, tmp_path: Path) -> None:
    """Cancelled after a few frames: those are what the command line says of as many."""
    kept.open("?max_gaze_tokens_each_frame=4")
    kept.see("sample").click()
    kept.page.wait_for_selector("#scrub:not(:disabled)")
    kept.see("cancel").click()
    expect(kept.see("activity-what")).to_contain_text("Cancelled after")
    assert kept.text("video-name") == SAMPLE.name
    metrics = kept.metrics()
    native = told(SAMPLE, tmp_path / "out", "--max-gaze-tokens", "4", "--frames", str(metrics["frames"]))
    assert numbers(metrics) == numbers(native.metrics)
    check_traces(kept.trace(), native.trace)


def test_every_way_in_draws_three_panels(kept: PageDriver, short_clip: Path) -> None:
    ways: dict[str, Callable[[], None]] = {
        "drop": lambda: kept.drop(short_clip),
        "paste": lambda: kept.hand_over({short_clip.name: short_clip.read_bytes()}, "paste"),
        "choose": lambda: kept.choose(short_clip),
    }
    kept.open("?max_gaze_tokens_each_frame=10")
    clip = last_frame(short_clip)
    height, width, _ = clip.shape
    for number, way in enumerate(ways.values(), 1):
        way()
        kept.wait_until_done(runs=number)
        expect(kept.page.locator("#stage[data-empty]")).to_have_count(0)
        expect(kept.see("place")).to_have_text("3 / 3")
        seen = {panel: shown(kept, panel, (width, height)) for panel in ("input", "mask", "output")}
        assert np.abs(seen["input"] - clip).mean() < 4  # of 255; the screen scales
        assert np.abs(seen["mask"] - clip).mean() > 8  # colours lie over it
        assert np.abs(seen["output"] - clip).mean() < 30 and (seen["output"] != seen["input"]).any()


def test_a_file_that_comes_while_the_page_loads_is_opened_when_it_is_ready(kept: PageDriver, short_clip: Path) -> None:
    kept.open("?max_gaze_tokens_each_frame=4", wait=False)
    kept.drop(short_clip)
    kept.wait_until_done()
    assert [order["run"] for order in kept.ordered("open")] == [1]


def test_news_come_in_order_and_say_what_the_trace_says(kept: PageDriver, short_clip: Path) -> None:
    kept.open("?max_gaze_tokens_each_frame=4").run(short_clip)
    news = [message["news"] for message in kept.heard("frame")]
    frames = kept.trace()["frames"]
    assert [(one["index"], one["time"], one["window"]) for one in news] == [(f["index"], f["time_s"], f["window"]) for f in frames]
    assert [sum(one["tokens"]) for one in news] == [sum(not padded for padded in f["padded"][0]) for f in frames]
    (opened,) = kept.heard("opened")
    assert (opened["video"]["width"], opened["video"]["height"], opened["video"]["fps"]) == (160, 96, 10)
    first_drawn = kept.page.evaluate("heard.findIndex(({ type }) => type === 'shown')")
    second_frame = kept.page.evaluate("heard.findIndex(({ type, news }) => type === 'frame' && news.index === 1)")
    assert first_drawn < second_frame  # the first picture does not wait for more


def test_a_folder_of_things_is_sorted(kept: PageDriver, short_clip: Path) -> None:
    kept.open("?max_gaze_tokens_each_frame=4")
    kept.hand_over({"notes.txt": b"hello", short_clip.name: short_clip.read_bytes(), "more.webm": b""}, kind="")
    kept.wait_until_done()
    assert kept.notices == [f"2 videos came; {short_clip.name} is opened."]


def test_text_that_is_dropped_is_refused(kept: PageDriver) -> None:
    kept.open()
    kept.page.evaluate(
        """() => {
             const transfer = new DataTransfer();
             transfer.setData("text/plain", "https://example.com/a.mp4");
             document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
           }"""
    )
    assert kept.notices == ["What was dropped is no file. Drop a video file; the page opens no addresses."]
