"""Every key of the help, the player's buttons, and what they show: the right frame, with its own numbers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import expect

from drawn_clips import draw
from page_driver import PageDriver

FRAMES, FPS, START = 14, 5, 8  # frames are counted from 1 here, as the page shows them
HELP = {  # keys as the help shows them: what they do
    *("Space", "←", "→", "Shift + ←", "Shift + →", "Home", "End", "< or ,", "> or .", "L", "N"),
    *("1", "2", "3", "4", "0", "+ or =", "-", "W A S D", "Z", "F"),
    *("O", "Esc", "?"),
}
VIEWS = {"1": "input", "2": "mask", "3": "output", "4": "split", "0": "difference"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("clips") / "played.webm", FRAMES, fps=FPS)


@pytest.fixture(scope="module")
def pictures(clip: Path) -> NDArray[np.int16]:
    """The clip's frames, decoded natively: [frames, height, width, 3]."""
    with av.open(clip) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.int16)


@pytest.fixture(scope="module")
def looked_at(kept: PageDriver, clip: Path) -> PageDriver:
    kept.open("?max_gaze_tokens_each_frame=6").run(clip)
    return kept


@pytest.fixture
def player(looked_at: PageDriver) -> Iterator[PageDriver]:
    """A clip that is done, at frame START, nothing playing and all as it was at first."""
    see, page = looked_at.see, looked_at.page
    if see("play").get_attribute("aria-label") == "Pause":
        see("play").click()
    if see("loop").get_attribute("aria-pressed") == "true":
        see("loop").click()
    see("view-all").click()
    see("zoom-reset").click()
    see("speed").select_option("1")
    see("scrub").fill(str(START - 1))
    page.evaluate("document.activeElement.blur()")
    at(looked_at, START)
    yield looked_at


def at(driver: PageDriver, frame: int) -> None:
    """The page says that this frame is shown, and it is on the canvases."""
    expect(driver.see("place")).to_have_text(f"{frame} / {FRAMES}")
    for panel in ("Input", "Mask", "Output"):
        expect(driver.see(f"canvas-{panel.lower()}")).to_have_attribute("aria-label", f"{panel}, frame {frame}")


def place(driver: PageDriver) -> int:
    return int(driver.text("place").split()[0])


def on_screen(driver: PageDriver, pictures: NDArray[np.int16]) -> int:
    """Which frame the input panel looks like."""
    height, width = pictures.shape[1:3]
    screen = Image.open(io.BytesIO(driver.see("canvas-input").screenshot())).convert("RGB")
    seen = np.asarray(screen.resize((width, height), Image.Resampling.BOX), np.int16)
    return int(np.abs(pictures - seen).mean(axis=(1, 2, 3)).argmin()) + 1


def test_the_help_lists_every_key_that_is_tested_here(player: PageDriver) -> None:
    player.page.keyboard.press("?")
    expect(player.see("help")).to_be_visible()
    assert set(player.page.locator("#key-list dt").all_inner_texts()) == HELP
    assert all(player.page.locator("#key-list dd").all_inner_texts())
    player.page.keyboard.press("ArrowRight")  # belongs to the dialog now
    player.page.keyboard.press("Escape")
    expect(player.see("help")).to_be_hidden()
    at(player, START)


@pytest.mark.parametrize(
    ("key", "frame"),
    [("ArrowLeft", 7), ("ArrowRight", 9), ("Shift+ArrowLeft", 3), ("Shift+ArrowRight", 13), ("Home", 1), ("End", FRAMES)],
)
def test_keys_step_through_the_frames(player: PageDriver, pictures: NDArray[np.int16], key: str, frame: int) -> None:
    player.page.keyboard.press(key)
    at(player, frame)
    assert on_screen(player, pictures) == frame


@pytest.mark.parametrize(("key", "frame"), [("Shift+ArrowLeft", 1), ("Shift+ArrowRight", FRAMES)])
def test_steps_end_at_the_ends(player: PageDriver, key: str, frame: int) -> None:
    for _ in range(3):
        player.page.keyboard.press(key)
    at(player, frame)


def test_space_plays_to_the_end_and_again(player: PageDriver, pictures: NDArray[np.int16]) -> None:
    player.page.keyboard.press("Space")
    expect(player.see("play")).to_have_attribute("aria-label", "Pause")
    expect(player.see("play")).to_have_attribute("aria-label", "Play", timeout=10_000)
    at(player, FRAMES)
    assert on_screen(player, pictures) == FRAMES
    player.page.keyboard.press("Space")  # from the start
    player.wait_for(lambda: 3 <= place(player) < FRAMES, 5000)
    player.page.keyboard.press("Space")
    expect(player.see("play")).to_have_attribute("aria-label", "Play")
    stopped = place(player)
    at(player, stopped)
    assert 3 <= stopped < FRAMES and on_screen(player, pictures) == stopped


def test_space_on_a_button_is_the_buttons(player: PageDriver) -> None:
    player.see("step-back").focus()
    player.page.keyboard.press("Space")
    at(player, START - 1)
    expect(player.see("play")).to_have_attribute("aria-label", "Play")


def test_speed_keys_go_through_the_speeds(player: PageDriver) -> None:
    for key, speed in [
        ("<", "0.5"),
        (",", "0.25"),
        ("<", "0.1"),
        ("<", "0.1"),
        (">", "0.25"),
        (".", "0.5"),
        (">", "1"),
        (">", "2"),
        (">", "4"),
    ]:
        player.page.keyboard.press(key)
        expect(player.see("speed")).to_have_value(speed)


def test_speed_is_kept(player: PageDriver) -> None:
    """13 frames at 5 a second and 4 times the speed take 0.65 s, at a quarter 10 s."""
    player.page.keyboard.press("Home")
    player.see("speed").select_option("4")
    player.page.evaluate("document.activeElement.blur()")
    begin = player.page.evaluate("performance.now()")
    player.page.keyboard.press("Space")
    expect(player.see("play")).to_have_attribute("aria-label", "Pause")
    expect(player.see("play")).to_have_attribute("aria-label", "Play", timeout=10_000)
    assert 500 < player.page.evaluate("performance.now()") - begin < 2500


def test_loop_goes_on_at_the_start(player: PageDriver) -> None:
    player.page.keyboard.press("l")
    expect(player.see("loop")).to_have_attribute("aria-pressed", "true")
    player.see("speed").select_option("4")
    player.page.evaluate("document.activeElement.blur()")
    player.page.evaluate("globalThis.from = heard.length")
    player.page.keyboard.press("Space")

    def wraps() -> int:
        shown = player.page.evaluate("heard.slice(from).filter(({ type }) => type === 'shown').map(({ index }) => index)")
        return sum(later < earlier for earlier, later in pairwise(shown))

    player.wait_for(lambda: wraps() >= 2, 10_000)
    expect(player.see("play")).to_have_attribute("aria-label", "Pause")
    player.page.keyboard.press("l")
    expect(player.see("play")).to_have_attribute("aria-label", "Play", timeout=10_000)
    at(player, FRAMES)


@pytest.mark.parametrize("key", VIEWS)
def test_view_keys_show_a_view_and_all_again(player: PageDriver, key: str) -> None:
    stage, view = player.see("stage"), VIEWS[key]
    player.page.keyboard.press(key)
    expect(stage).to_have_attribute("data-view", view)
    expect(player.see(f"view-{view}")).to_have_attribute("aria-pressed", "true")
    canvases = {panel: player.see(f"canvas-{panel}").is_visible() for panel in ("input", "mask", "output")}
    wanted = {"split": {"input", "output"}, "difference": {"input", "output"}}.get(view, {view})
    assert {panel for panel, visible in canvases.items() if visible} == wanted
    player.page.keyboard.press(key)
    expect(stage).to_have_attribute("data-view", "all")
    expect(player.see("view-all")).to_have_attribute("aria-pressed", "true")


def test_the_difference_of_a_keyframe_is_black(player: PageDriver) -> None:
    player.page.keyboard.press("0")

    def brightest() -> int:
        screen = Image.open(io.BytesIO(player.see("stage").screenshot())).convert("RGB")
        middle = screen.crop((screen.width // 3, screen.height // 3, 2 * screen.width // 3, 2 * screen.height // 3))
        return int(np.asarray(middle).max())

    player.page.keyboard.press("Home")
    at(player, 1)
    assert brightest() == 0
    player.see("gain").select_option("16")
    player.page.evaluate("document.activeElement.blur()")
    player.page.keyboard.press("End")
    at(player, FRAMES)
    assert brightest() > 50
    player.see("gain").select_option("1")


def test_zoom_is_shared_by_the_panels(player: PageDriver) -> None:
    def transforms() -> set[str]:
        return set(player.page.locator(".picture").evaluate_all("(all) => all.map((one) => getComputedStyle(one).transform)"))

    (whole,) = transforms()
    player.page.keyboard.press("+")
    player.page.keyboard.press("=")
    expect(player.see("zoom-reset")).to_have_text("196 %")
    (zoomed,) = transforms()
    assert zoomed != whole
    for key in "wasd":
        before = transforms()
        player.page.keyboard.press(key)
        assert len(transforms()) == 1 and transforms() != before
    player.page.keyboard.press("-")
    expect(player.see("zoom-reset")).to_have_text("140 %")
    player.page.keyboard.press("z")
    expect(player.see("zoom-reset")).to_have_text("100 %")
    assert transforms() == {whole}


def test_the_split_moves_with_keys(player: PageDriver) -> None:
    player.page.keyboard.press("4")
    divider = player.see("divider")
    divider.focus()
    for key, place in [("ArrowRight", 52), ("ArrowLeft", 50), ("Shift+ArrowRight", 60), ("PageDown", 50), ("Home", 0), ("End", 100)]:
        player.page.keyboard.press(key)
        expect(divider).to_have_attribute("aria-valuenow", str(place))
    at(player, START)  # the same keys did not step
    expect(divider).to_have_attribute("aria-valuetext", "input 100 %, output 0 %")


def test_o_opens_the_picker(player: PageDriver) -> None:
    with player.page.expect_file_chooser():
        player.page.keyboard.press("o")


def test_full_screen_and_back(player: PageDriver) -> None:
    full = "document.fullscreenElement?.id ?? ''"
    player.page.keyboard.press("f")
    player.wait_for(lambda: player.page.evaluate(full) == "viewer", 5000)
    player.page.keyboard.press("f")
    player.wait_for(lambda: player.page.evaluate(full) == "", 5000)


def test_keys_typed_into_a_field_stay_there(player: PageDriver) -> None:
    field = player.see("setting-mask_cell_scale")
    field.focus()
    for key in ("1", "Home", "l"):
        player.page.keyboard.press(key)
    expect(player.see("stage")).to_have_attribute("data-view", "all")
    expect(player.see("loop")).to_have_attribute("aria-pressed", "false")
    field.fill("1")
    at(player, START)


def test_buttons_do_what_keys_do(player: PageDriver) -> None:
    for button, frame in [("to-start", 1), ("step-forward", 2), ("to-end", FRAMES), ("step-back", FRAMES - 1)]:
        player.see(button).click()
        at(player, frame)


def number(driver: PageDriver, name: str) -> float:
    return float(driver.text(name.replace("_", "-")).split()[0].replace("∞", "inf").replace("–", "inf"))


def test_numbers_follow_the_frame_that_is_shown(player: PageDriver, pictures: NDArray[np.int16]) -> None:
    news = [message["news"] for message in player.heard("frame")]
    assert len(news) == FRAMES
    for frame in (1, 5, 10, 14):
        player.see("scrub").fill(str(frame - 1))
        at(player, frame)
        assert on_screen(player, pictures) == frame
        told = news[frame - 1]
        for name in ("update_ratio", "mask_ratio", "update_ratio_ema", "mask_ratio_ema"):
            assert number(player, name) == pytest.approx(100 * told[name], abs=0.051)  # percent
        for name in ("psnr_db", "psnr_db_ema"):
            assert number(player, name.replace("_db", "")) == pytest.approx(told[name] or float("inf"), abs=0.0051)
        expect(player.see("tokens")).to_have_text(str(sum(told["tokens"])))
        assert player.page.locator("#tokens-by-scale .count").all_inner_texts() == [str(count) for count in told["tokens"]]
        expect(player.see("keyframe")).to_be_visible(visible=told["keyframe"])
        expect(player.see("time")).to_have_text(f"0:{(frame - 1) / FPS:05.2f}")


def test_a_click_in_the_plot_seeks(player: PageDriver) -> None:
    over = player.page.locator("#plot .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box
    over.click(position={"x": 3, "y": box["height"] / 2})
    at(player, 1)
    over.click(position={"x": box["width"] - 3, "y": box["height"] / 2})
    at(player, FRAMES)


def test_live_and_cancel_while_it_is_gazed_at(kept: PageDriver, tmp_path: Path) -> None:
    """Last here: it opens another clip."""
    kept.drop(draw(tmp_path / "long.webm", 60))
    live = kept.see("live")
    expect(live).to_be_visible()
    kept.page.wait_for_selector("#scrub:not(:disabled)")
    expect(live).to_have_attribute("aria-pressed", "true")
    kept.page.keyboard.press("n")
    expect(live).to_have_attribute("aria-pressed", "false")
    kept.page.keyboard.press("Home")
    expect(kept.see("canvas-input")).to_have_attribute("aria-label", "Input, frame 1")
    done = len(kept.heard("frame"))
    kept.wait_for(lambda: len(kept.heard("frame")) > done + 2)
    expect(kept.see("canvas-input")).to_have_attribute("aria-label", "Input, frame 1")  # it gazes on, and this one stays
    kept.page.keyboard.press("n")
    expect(live).to_have_attribute("aria-pressed", "true")
    expect(kept.see("canvas-input")).not_to_have_attribute("aria-label", "Input, frame 1")
    kept.page.keyboard.press("Escape")
    expect(kept.see("activity-what")).to_contain_text("Cancelled after")
    expect(live).to_be_hidden()
    kept.page.keyboard.press("Home")
    expect(kept.see("canvas-output")).to_have_attribute("aria-label", "Output, frame 1")
