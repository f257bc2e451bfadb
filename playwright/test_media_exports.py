"""GIFs, films and pictures made in a real browser, read back by Pillow and PyAV."""

from __future__ import annotations

import base64
import io

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from media_worker import Ask, FaultTold, ask_worker, serve_media  # noqa: F401 (fixtures)


def panel_pixels(panel: str, index: int, width: int, height: int, transparent: bool = False) -> NDArray[np.uint8]:
    """The harness's panels: RGBA [height, width, 4]."""
    y, x = np.mgrid[:height, :width]
    pixels = np.full((height, width, 4), 255, np.int64)
    if panel == "input":
        pixels[..., 0], pixels[..., 1], pixels[..., 2] = x * 6 + 20 * index & 255, y * 10 & 255, x + y & 255
    elif panel == "mask":
        pixels[:] = np.where((x < width / 2)[..., None], (255, 180, 0, 255), (9, 9, 9, 0) if transparent else (10, 20, 200, 255))
    else:
        pixels[:] = np.where((((x >> 3) + (y >> 3) + index) % 2 == 1)[..., None], (200, 30, 60, 255), (0, 90, 40, 255))
    return pixels.astype(np.uint8)


def gif_frames(data: str) -> tuple[Image.Image, list[NDArray[np.uint8]], list[int]]:
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    frames = [(np.asarray(frame.convert("RGBA")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
    return image, [pixels for pixels, _ in frames], [duration for _, duration in frames]


@pytest.mark.parametrize("transparent", [False, True])
def test_gifs_of_few_colours_are_exact(ask: Ask, transparent: bool) -> None:
    told = ask("gifs", source={"frames": 5, "width": 40, "height": 24, "transparent": transparent}, fps=10)
    assert told["done"] == [1, 2, 3, 4, 5]
    for panel in ("mask", "output"):
        image, frames, durations = gif_frames(told[panel])
        assert (image.format, image.size, image.info["loop"], durations) == ("GIF", (40, 24), 0, [100] * 5)
        for index, pixels in enumerate(frames):
            wanted = panel_pixels(panel, index, 40, 24, transparent)
            assert (pixels[..., 3] == wanted[..., 3]).all()
            assert (pixels[wanted[..., 3] == 255] == wanted[wanted[..., 3] == 255]).all()


def test_gifs_of_many_colours_are_close(ask: Ask) -> None:
    told = ask("gifs", source={"frames": 3, "width": 160, "height": 100})
    _, frames, durations = gif_frames(told["input"])
    assert durations == [100] * 3
    for index, pixels in enumerate(frames):
        wanted = panel_pixels("input", index, 160, 100)
        blurred = [np.asarray(Image.fromarray(p).convert("RGB").reduce(4), np.int16) for p in (pixels, wanted)]
        assert np.abs(blurred[0] - blurred[1]).mean() < 4  # dithered: right on average


@pytest.mark.parametrize(("fps", "frames", "delays"), [(30, 6, [30, 40, 30, 30, 40, 30]), (120, 9, [20, 20, 20]), (12.5, 2, [80, 80])])
def test_delays_of_a_gif_add_up(ask: Ask, fps: float, frames: int, delays: list[int]) -> None:
    told = ask("gifs", source={"frames": frames, "fps": fps})
    _, _, durations = gif_frames(told["output"])
    assert abs(sum(durations) - 1000 * frames / fps) < 20  # the shortest delay
    assert durations == delays


def test_gifs_are_scaled_down_as_pillow_does(ask: Ask) -> None:
    told = ask("gifs", source={"frames": 1, "width": 203, "height": 151}, width=64)
    image, (pixels,), _ = gif_frames(told["output"])
    assert image.size == (64, 48)
    wanted = Image.fromarray(panel_pixels("output", 0, 203, 151)).resize((64, 48), Image.Resampling.BILINEAR)
    assert np.abs(pixels.astype(np.int16) - np.asarray(wanted)).mean() < 2  # and a palette


@pytest.mark.parametrize(("width", "height", "transparent"), [(40, 24, False), (61, 35, True), (1000, 601, False)])
def test_the_film_shows_three_panels_at_exact_times(ask: Ask, width: int, height: int, transparent: bool) -> None:
    told = ask("sideBySide", source={"frames": 7, "width": width, "height": height, "fps": 8, "transparent": transparent})
    assert (told["extension"], told["codec"], told["type"]) == ("webm", "vp9", "video/webm")
    assert told["done"] == list(range(1, 8)) and told["live"] == 0
    with av.open(io.BytesIO(base64.b64decode(told["data"])), "r") as film:
        frames = list(film.decode(video=0))
        assert film.streams.video[0].codec_context.name.endswith("vp9")
        assert film.duration == 875_000  # µs
    assert [round(1000 * (frame.time or 0)) for frame in frames] == [0, 125, 250, 375, 500, 625, 750]
    size = (width, height) if 3 * width + 4 <= 1920 else (638, round(height * 638 / width))
    assert (frames[0].width, frames[0].height) == (-(-(3 * size[0] + 4) // 2) * 2, -(-size[1] // 2) * 2)
    for index, frame in enumerate(frames):
        shown = frame.to_ndarray(format="rgb24").astype(np.int16)
        for place, panel in enumerate(("input", "mask", "output")):
            pixels = Image.fromarray(panel_pixels(panel, index, width, height, transparent)).resize(size, Image.Resampling.BILINEAR)
            wanted = np.asarray(pixels, np.int32)
            wanted = wanted[..., :3] * wanted[..., 3:] // 255
            left = place * (size[0] + 2)
            error = np.abs(shown[: size[1], left : left + size[0]] - wanted).mean()
            assert error < 20  # chroma has half the size; another frame is off by 60


@pytest.mark.parametrize("alpha", [255, None])
def test_pngs_hold_exactly_the_pixels(ask: Ask, alpha: int | None) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (37, 53, 4), dtype=np.uint8)
    if alpha is not None:
        pixels[..., 3] = alpha
    data = base64.b64decode(ask("png", pixels=pixels.ravel().tolist(), width=53, height=37))
    image = Image.open(io.BytesIO(data))
    image.load()
    assert (image.format, image.mode) == ("PNG", "RGB" if alpha else "RGBA")
    assert (np.asarray(image.convert("RGBA")) == pixels).all()


@pytest.mark.parametrize("kind", ["gif", "film"])
def test_a_download_can_be_stopped(ask: Ask, kind: str) -> None:
    with pytest.raises(FaultTold) as told:
        ask("stopped", kind=kind, after=3)
    assert told.value.name == "AbortError"


def test_progress_need_not_be_watched(ask: Ask) -> None:
    assert min(ask("unwatched")) > 100


@pytest.mark.parametrize("call", ["gifs", "sideBySide"])
def test_nothing_painted_is_nothing_to_save(ask: Ask, call: str) -> None:
    with pytest.raises(FaultTold) as told:
        ask(call, source={"frames": 0})
    assert told.value.card["kind"] == "export"
