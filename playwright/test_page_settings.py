"""Settings: in the address and back, bad ones named and replaced, painting again or gazing again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import expect

from drawn_clips import draw
from page_driver import PageDriver
from told_by_command_line import ROOT, check_traces, numbers, told

BUDGET = "max_gaze_tokens_each_frame"
GIVEN: dict[str, str] = {  # a value of every setting that is not its default, as a person may write it
    "mode": "tiled",
    BUDGET: "7",
    "task_loss_requirement": "0.5",
    "window": "rolling",
    "clip_len": "4",
    "tile_batch": "2",
    "output_mode": "interframe",
    "keyframe_duration": "9",
    "mask_mode": "scale-rows",
    "geometry": "effective",
    "blend_alpha": "0.5",
    "mask_cell_scale": "1.5",
    "backend": "wasm",
}
BAD: dict[str, tuple[str, str]] = {  # query: what is named, what the notice says
    "nosuch=1": ("nosuch", "no setting"),
    "mode=sideways": ("mode", "resize, tiled"),
    "blend_alpha=2": ("blend_alpha", "0.38"),
    "blend_alpha=-0": ("", ""),
    f"{BUDGET}=0": (BUDGET, "at least 1"),
    f"{BUDGET}=1.5": (BUDGET, "whole number"),
    f"{BUDGET}=1e999": (BUDGET, "number"),
    "mask_cell_scale=0": ("mask_cell_scale", "above 0"),
    "gazing_ratio=0.1,x": ("gazing_ratio", "number"),
    f"gazing_ratio=0.1&{BUDGET}=3": ("gazing_ratio", "give one of them"),
    "mode=tiled&mode=resize": ("mode", "twice"),
    f"mode={quote('<img src=x onerror=alert(1)>')}": ("<img src=x onerror=alert(1)>", "choose one of"),
    f"{quote('<script>alert(1)</script>')}=1": ("<script>alert(1)</script>", "no setting"),
    "constructor=1&__proto__=2": ("__proto__", "no setting"),
    f"mode={'x' * 3000}": ("xxx", "…"),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("clips") / "clip.webm", 5)


def query_of(driver: PageDriver) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(driver.page.url).query).items()}


def settings_of(driver: PageDriver) -> dict[str, Any]:
    """What the page would give a worker with the next video."""
    orders = driver.ordered("open")
    found: dict[str, Any] = orders[-1]["settings"]
    return found


def test_every_setting_goes_through_the_address(kept: PageDriver) -> None:
    described = json.loads((ROOT / "web" / "dist" / "controls.json").read_bytes())["settings"]
    kept.open("?" + "&".join(f"{name}={value}" for name, value in GIVEN.items()))
    kept.hand_over({"text.mp4": b"no video"})
    kept.wait_for(lambda: kept.card.count())
    wanted = {name: value for name, value in GIVEN.items() if name != "output_mode"}  # the default is not written
    assert query_of(kept) == wanted
    sent = {name: str(value) for name, value in settings_of(kept).items()}
    assert sent == {name: value for name, value in wanted.items() if name != "backend"}
    assert kept.notices == []
    for setting in described:
        if setting["name"] in wanted and setting.get("control") is None:
            expect(kept.see(f"setting-{setting['name']}")).to_have_value(wanted[setting["name"]])
    left_out = {setting["name"] for setting in described} - GIVEN.keys()
    assert left_out == {"gazing_ratio", "task_loss_requirement_db", "task_loss", "target_scales", "target_patch_size"}
    kept.see("reset-settings").click()
    assert query_of(kept) == {}


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("gazing_ratio=0.1,0.2,0.3", {"gazing_ratio": [0.1, 0.2, 0.3]}),
        ("task_loss_requirement_db=-3.5", {"task_loss_requirement_db": -3.5}),
        ("task_loss=off", {"task_loss": "off"}),
        ("target_scales=64%2B128%2B224%2B448&target_patch_size=32", {"target_scales": [64, 128, 224, 448], "target_patch_size": 32}),
        ("target_scales=64+128+224+448&target_patch_size=32", {"target_scales": [64, 128, 224, 448], "target_patch_size": 32}),
    ],
)
def test_alternatives_go_through_the_address(kept: PageDriver, query: str, sent: dict[str, Any]) -> None:
    kept.open(f"?{query}", wait=False)
    again = urlsplit(kept.page.url).query
    kept.open(f"?{again}", wait=False)
    assert urlsplit(kept.page.url).query == again  # it stays
    kept.hand_over({"text.mp4": b"no video"})
    kept.wait_for(lambda: kept.ordered("open"))
    assert settings_of(kept) == sent
    assert kept.notices == []


def test_bad_values_are_named_and_replaced(kept: PageDriver) -> None:
    for query, (name, words) in BAD.items():
        kept.open(f"?{query}", wait=False)
        notices = " ".join(kept.notices)
        assert name in notices and words in notices and bool(notices) == bool(name), (query, notices)
        assert len(notices) < 700
        assert kept.page.locator("#notices img, #notices script").count() == 0
    kept.open("?" + "&".join(f"x{number}=1" for number in range(50)), wait=False)
    assert len(kept.notices) == 7 and "44 more" in kept.notices[-1]


def test_painting_otherwise_paints_again_without_gazing(kept: PageDriver, clip: Path, tmp_path: Path) -> None:
    kept.open(f"?{BUDGET}=12").run(clip)
    trace = kept.trace()
    kept.see("setting-output_mode").select_option("full-blend")
    kept.see("setting-mask_mode").select_option("scale-rows")
    kept.see("setting-mask_cell_scale").fill("0.5")
    kept.see("setting-mask_cell_scale").press("Enter")
    kept.wait_for(lambda: len(kept.heard("frame")) >= 10 and kept.heard("repainting")[-1]["done"] == 5)
    kept.page.wait_for_timeout(300)
    expect(kept.see("activity-what")).to_have_text("Done")
    assert len(kept.heard("opened")) == len(kept.ordered("open")) == 1
    assert {message["run"] for message in kept.heard("frame")} == {1}
    assert all(message["news"]["seconds"][:2] == [0, 0] for message in kept.heard("frame")[5:])  # no decoding for gazing, no gazing
    assert query_of(kept) == {BUDGET: "12", "output_mode": "full-blend", "mask_mode": "scale-rows", "mask_cell_scale": "0.5"}
    options = ["--output-mode", "full-blend", "--mask-mode", "scale-rows", "--cell-scale", "0.5"]
    native = told(clip, tmp_path / "out", "--max-gaze-tokens", "12", *options)
    assert numbers(kept.metrics()) == numbers(native.metrics)
    assert kept.trace()["frames"] == trace["frames"]
    check_traces(kept.trace(), native.trace)


def test_painting_otherwise_while_it_is_gazed_at(kept: PageDriver, clip: Path, tmp_path: Path) -> None:
    kept.open(f"?{BUDGET}=4")
    kept.drop(draw(tmp_path / "longer.webm", 16))
    kept.wait_for(lambda: len(kept.heard("frame")) >= 3)
    kept.see("setting-geometry").select_option("effective")
    kept.wait_until_done()
    kept.wait_for(lambda: not kept.see("download-metrics").is_disabled())
    native = told(tmp_path / "longer.webm", tmp_path / "out", "--max-gaze-tokens", "4", "--geometry", "effective")
    assert numbers(kept.metrics()) == numbers(native.metrics)
    assert len(kept.heard("opened")) == 1


def test_gazing_otherwise_begins_anew(kept: PageDriver, clip: Path, tmp_path: Path) -> None:
    kept.open(f"?{BUDGET}=4").run(clip)
    kept.see(f"setting-{BUDGET}").fill("9")
    kept.see(f"setting-{BUDGET}").press("Enter")
    kept.wait_until_done(runs=2)
    assert query_of(kept) == {BUDGET: "9"}
    native = told(clip, tmp_path / "out", "--max-gaze-tokens", "9")
    assert numbers(kept.metrics()) == numbers(native.metrics)
    check_traces(kept.trace(), native.trace)


def test_settings_that_do_not_go_together_are_a_card(kept: PageDriver, clip: Path) -> None:
    """Only the model knows how long its windows are; a good value opens the video again."""
    kept.open(f"?{BUDGET}=2&clip_len=400")
    kept.drop(clip)
    expect(kept.page.locator(".card[data-kind=settings]")).to_contain_text("clip_len is 400")
    kept.page.evaluate("document.querySelectorAll('details').forEach((more) => { more.open = true; })")
    kept.see("setting-clip_len").fill("2")
    kept.see("setting-clip_len").press("Enter")
    expect(kept.card).to_have_count(0)  # which belongs to the run before
    kept.wait_until_done()
