"""For everybody: axe finds nothing serious, nothing scrolls sideways on a phone or at 200 %, and motion can be spared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from drawn_clips import draw
from page_driver import PageDriver
from told_by_command_line import ROOT

AXE = (ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js").read_text()
RUN_AXE = """
async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`));
}
"""
FEW = "?max_gaze_tokens_each_frame=2"
SIZES = {"a phone": (320, 640), "200 % of 1280 pixels": (640, 400), "a tablet": (820, 1100)}
WIDE = (
    "[document.documentElement.scrollWidth, document.body.scrollWidth].map((width) => width - innerWidth).reduce((a, b) => Math.max(a, b))"
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {
        "short": draw(folder / "short.webm", 3),
        "long": draw(folder / f"{'a long name without any blank '.replace(' ', '_') * 6}.webm", 200, width=320, height=192),
    }


def states(driver: PageDriver, clips: dict[str, Path]) -> dict[str, Callable[[], None]]:
    """What to do to see each state of the page, one after the other."""
    see, press = driver.see, driver.page.keyboard.press

    def run() -> None:
        driver.drop(clips["long"])
        expect(see("scrub")).to_be_enabled(timeout=30_000)

    def done() -> None:
        driver.drop(clips["short"])
        driver.wait_for(lambda: driver.heard("done"))
        driver.wait_until_done()

    def split() -> None:
        press("4")

    def difference() -> None:
        press("0")

    def more() -> None:
        driver.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    def shown_help() -> None:
        press("?")
        expect(see("help")).to_be_visible()

    def model() -> None:
        press("Escape")
        see("model-button").click()
        expect(see("cache-note")).to_contain_text("MB")

    def error() -> None:
        press("Escape")
        driver.hand_over({"text.mp4": b"no video"})
        expect(driver.card).to_be_visible()

    steps = (run, done, split, difference, more, shown_help, model, error)
    return {"empty": lambda: None} | {step.__name__: step for step in steps}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(kept: PageDriver, clips: dict[str, Path], scheme: str) -> None:
    kept.page.set_viewport_size({"width": 1280, "height": 800})
    kept.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    kept.open(FEW)
    kept.page.evaluate(AXE)
    found = {}
    for state, reach in states(kept, clips).items():
        reach()
        found[state] = kept.page.evaluate(RUN_AXE)
    assert {state: violations for state, violations in found.items() if violations} == {}
    kept.page.emulate_media(color_scheme="null")


@pytest.mark.parametrize("size", SIZES)
def test_nothing_scrolls_sideways(kept: PageDriver, clips: dict[str, Path], size: str) -> None:
    width, height = SIZES[size]
    kept.page.set_viewport_size({"width": width, "height": height})
    kept.open(FEW)
    wide = {}
    for state, reach in states(kept, clips).items():
        reach()
        wide[state] = kept.page.evaluate(WIDE)
    assert {state: pixels for state, pixels in wide.items() if pixels > 0} == {}


def test_motion_can_be_spared(kept: PageDriver, clips: dict[str, Path]) -> None:
    kept.page.set_viewport_size({"width": 1280, "height": 800})
    kept.page.emulate_media(reduced_motion="reduce")
    kept.open(FEW)
    kept.drop(clips["long"])
    expect(kept.see("scrub")).to_be_enabled(timeout=30_000)
    moving = kept.page.evaluate(
        "document.getAnimations().filter((one) => one.playState === 'running' && one.effect.getComputedTiming().activeDuration > 50).length"
    )
    assert moving == 0
    kept.page.keyboard.press("Escape")
    kept.page.emulate_media(reduced_motion="null")


def test_everything_is_reached_with_the_tab_key(kept: PageDriver, clips: dict[str, Path]) -> None:
    kept.page.set_viewport_size({"width": 1280, "height": 800})
    kept.open(FEW).run(clips["short"])
    kept.page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(80):
        kept.page.keyboard.press("Tab")
        reached.add(kept.page.evaluate("document.activeElement.id"))
    assert {"model-button", "help-button", "play", "scrub", "speed", "view-split", "zoom-in", "setting-mode", "download-metrics"} <= reached
    assert {"setting-output_mode", "download-video", "fullscreen", "loop"} <= reached


def test_a_screen_reader_hears_what_goes_on(kept: PageDriver, clips: dict[str, Path]) -> None:
    kept.open(FEW).run(clips["short"])
    expect(kept.see("announcer")).to_contain_text("Done, 3 frames in")
    assert kept.see("announcer").get_attribute("role") == "status"
    expect(kept.see("scrub")).to_have_attribute("aria-valuetext", "frame 3 of 3 done, 0:00.20")
