"""What is wrong with a file, a model or the worker is told in a card of its own, and the page goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.sync_api import expect

from autogaze_web.checkpoint import expected_tensors
from autogaze_web.config import parse_config
from autogaze_web.gate.files import MODEL, noise_files
from autogaze_web.safetensors import write
from drawn_clips import draw
from page_driver import PageDriver
from told_by_command_line import ROOT, check_traces, told

CLIPS = ROOT / "playwright" / "clips"
QUERY = "?max_gaze_tokens_each_frame=2"
FAULTS = {  # file, and the name under which it comes: kind of the card, words of it
    "codec_mpeg4_part_2.mp4": ("codec", "MPEG-4"),
    "codec_prores.mov": ("codec", "ProRes"),
    "container_avi.avi": ("container", "AVI"),
    "audio_only.m4a": ("audio-only", "only audio"),
    "audio_only.mp3": ("audio-only", "only audio"),
    "cut_off_without_index.mp4": ("truncated", "moov"),
    "cut_off_before_first_frame.webm": ("truncated", "ends before its first frame"),
    "no_key_frame.webm": ("no-key-frame", "without a single key frame"),
    "zero_frames.mp4": ("empty", "holds no frame"),
    "no_tracks.mp4": ("empty", "no video track"),
    "text.mp4": ("not-video", "text, whatever its name says"),
    "picture.mp4": ("not-video", "picture, whatever its name says"),
    "noise.mp4": ("not-video", "no format"),
    "damaged_throughout.webm": ("damaged", "none of it can be decoded"),
    "empty.mp4": ("empty-file", "0 bytes"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("clips") / "good.webm", 2)


def content(name: str) -> bytes:
    return b"" if name == "empty.mp4" else (CLIPS / name).read_bytes()


def model_files(**changes: bytes | None) -> dict[str, bytes]:
    """The seeded-noise checkpoint; changes by name without its ending, None: left out."""
    files = noise_files()
    named = {name.partition(".")[0]: name for name in files}
    changed = files | {named[short]: data for short, data in changes.items() if data is not None}
    return {name: data for name, data in changed.items() if changes.get(name.partition(".")[0], b"") is not None}


def of_two_layers() -> dict[str, bytes]:
    """A whole checkpoint of zeros whose decoder has half the layers."""
    config = json.loads(noise_files()["config.json"])
    config["gaze_model_config"]["gaze_decoder_config"]["num_hidden_layers"] = 2
    text = json.dumps(config).encode()
    tensors = {name: ("F32", shape, bytes(4 * math.prod(shape))) for name, shape in expected_tensors(parse_config(text)).items()}
    return noise_files() | {"config.json": text, "model.safetensors": write(tensors)}


def test_each_bad_file_has_its_own_card_and_the_next_file_is_taken(kept: PageDriver, good: Path) -> None:
    kept.open(QUERY)
    cards: dict[str, str] = {}
    for name, (kind, words) in FAULTS.items():
        kept.hand_over({name: content(name)}, kind="video/mp4")
        card = kept.page.locator(f".card[data-kind='{kind}']", has_text=name)
        expect(card).to_be_visible()
        assert words in card.inner_text(), (name, card.inner_text())
        assert card.get_attribute("role") == "alert"
        assert card.locator("dt").all_inner_texts() == ["Found", "Try"]
        cards[name] = card.inner_text().replace(name, "")
        expect(kept.see("viewer")).to_be_hidden()
    assert len(set(cards.values())) == len(FAULTS)  # a sentence of its own each
    kept.drop(good)
    kept.wait_until_done()
    assert kept.card.count() == 0
    assert kept.metrics()["frames"] == 2


def test_a_video_that_is_cut_off_shows_what_is_left(kept: PageDriver) -> None:
    kept.open(QUERY)
    kept.hand_over({"cut_off.webm": content("cut_off.webm")})
    kept.wait_until_done()
    (notice,) = kept.notices
    assert "cut_off.webm" in notice
    assert kept.metrics()["warnings"] == [notice]


def test_a_card_can_be_put_away_and_the_diagnostics_copied(kept: PageDriver) -> None:
    kept.open(QUERY)
    kept.hand_over({"text.mp4": content("text.mp4")})
    kept.card.get_by_role("button", name="Copy diagnostics").click()
    expect(kept.page.locator(".notice")).to_have_text("The diagnostics are in the clipboard.")
    report = json.loads(kept.page.evaluate("navigator.clipboard.readText()"))
    assert report["backend"]["kind"] == "wasm" and report["versions"]["pyodide"]
    assert report["page"]["cards"][-1]["kind"] == "not-video"
    assert "text.mp4" not in json.dumps(report["page"]["video"])
    kept.card.get_by_role("button", name="Put this away").click()
    expect(kept.card).to_have_count(0)


def test_a_worker_that_crashes_is_started_again(driver: PageDriver, good: Path) -> None:
    """An error that nothing catches, in the middle of a run."""
    crash = "addEventListener('message', ({ data }) => { if (data.type === 'cache') setTimeout(() => { throw new Error('planted'); }); });"
    driver.page.context.route("**/worker.js", lambda route: route.fulfill(response=(answer := route.fetch()), body=crash + answer.text()))
    driver.open(QUERY)
    driver.drop(good)
    driver.see("model-button").click()
    expect(driver.card).to_contain_text("The worker stopped")
    expect(driver.card).to_contain_text("planted")
    driver.page.keyboard.press("Escape")  # the dialog
    driver.card.get_by_role("button", name="Start it again").click()
    expect(driver.card).to_have_count(0)
    driver.run(good)
    assert driver.metrics()["frames"] == 2


WRONG_MODELS: dict[str, tuple[Mapping[str, bytes], str]] = {
    "a file is missing": (model_files(preprocessor_config=None), "preprocessor_config.json"),
    "truncated": (model_files(model=noise_files()["model.safetensors"][:-1000]), "model.safetensors"),
    "no safetensors": (model_files(model=b"PK\x03\x04" + bytes(1000)), "model.safetensors"),
    "no JSON": (model_files(config=b"{nonsense"), "config.json"),
    "another network": (model_files(config=json.dumps({"model_type": "llama"}).encode()), "config.json"),
    "other sizes": (of_two_layers(), "layers 4, and the checkpoint has 2"),
}


def test_what_is_no_model_is_refused_by_name_and_the_old_one_stays(kept: PageDriver, good: Path) -> None:
    kept.open(QUERY).run(good)
    before = kept.metrics()["weights_sha256"]
    for number, (what, (files, words)) in enumerate(WRONG_MODELS.items()):
        kept.hand_over(files, kind="")
        if not number:
            kept.see("licence-accept").click()
        kept.wait_for(lambda: len(kept.heard("refused")) == number + 1)  # noqa: B023
        expect(kept.page.locator(".card[data-kind=model]")).to_be_visible()
        assert words in kept.card.inner_text(), (what, kept.card.inner_text())
    expect(kept.see("model-name")).to_have_text("Built-in model")
    expect(kept.see("place")).to_have_text("2 / 2")  # and its video
    assert kept.metrics()["weights_sha256"] == before


def test_another_model_is_used_and_the_built_in_one_again(kept: PageDriver, good: Path, tmp_path: Path) -> None:
    """The licence is shown once; refused, nothing changes."""
    folder = tmp_path / "noise"
    folder.mkdir()
    for name, data in ({file.name: file.read_bytes() for file in MODEL.iterdir()} | noise_files()).items():
        (folder / name).write_bytes(data)
    native = told(good, tmp_path / "out", "--model", str(folder), "--max-gaze-tokens", "2")
    kept.page.evaluate("localStorage.clear()")
    kept.open(QUERY).run(good)
    built_in = kept.metrics()
    kept.hand_over(noise_files(), kind="")
    kept.see("licence-refuse").click()
    expect(kept.see("model-name")).to_have_text("Built-in model")
    kept.hand_over(noise_files(), kind="")
    kept.see("licence-accept").click()
    kept.wait_until_done(runs=2)
    assert kept.metrics()["weights_sha256"] == native.metrics["weights_sha256"] != built_in["weights_sha256"]
    check_traces(kept.trace() | {"model": ""}, native.trace | {"model": ""})
    kept.see("model-button").click()
    expect(kept.see("model-kind")).to_have_text("brought by you")
    kept.see("use-built-in").click()
    kept.wait_until_done(runs=3)
    assert kept.metrics()["weights_sha256"] == built_in["weights_sha256"]
    kept.hand_over(noise_files(), kind="")
    kept.wait_until_done(runs=4)  # without being asked again
    expect(kept.see("licence")).to_be_hidden()
