"""gif.py, read back with Pillow: frames, time, colours, transparency, memory, and whole files only."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from autogaze_web.errors import VideoError
from autogaze_web.gif import GifWriter, Pixels, fit_width


def photo(shift: int = 0, width: int = 96, height: int = 64) -> Pixels:
    """Smooth gradients with a little noise: thousands of colours, as in a photo."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [127 + 120 * np.sin((x + shift) / 20), 127 + 120 * np.cos(y / 15), (x + y + shift) % 256]
    noise = np.random.default_rng(shift).normal(0, 3, (height, width, 3))
    return np.clip(np.stack(channels, -1) + noise, 0, 255).astype(np.uint8)


def write(path: Path, frames: list[Pixels], fps: float = 10.0) -> Path:
    height, width = frames[0].shape[:2]
    with GifWriter(path, width, height, fps) as gif:
        for frame in frames:
            gif.add(frame)
    return path


def read(path: Path) -> tuple[list[Pixels], list[int], dict[str, object]]:
    """(RGBA frames as a viewer composes them, delays in milliseconds, the first frame's info)."""
    with Image.open(path) as image:
        info, frames, delays = dict(image.info), [], []
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(np.array(image.convert("RGBA")))
            delays.append(int(image.info["duration"]))
    return frames, delays, info


def blurred(pixels: Pixels) -> np.ndarray:
    """What an eye sees of a dithered picture; the rim, where the filter has no neighbours, left out."""
    return np.asarray(Image.fromarray(pixels[..., :3]).filter(ImageFilter.GaussianBlur(2)), float)[4:-4, 4:-4]


def test_photos_come_back_in_order_and_close(tmp_path: Path) -> None:
    pictures = [photo(10 * i) for i in range(15)]
    frames, delays, info = read(write(tmp_path / "clip.gif", pictures))
    assert [frame.shape for frame in frames] == [(64, 96, 4)] * 15
    assert (delays, info["loop"], info["version"]) == ([100] * 15, 0, b"GIF89a")
    for frame, picture in zip(frames, pictures, strict=True):
        assert frame[..., 3].min() == 255
        assert np.sqrt(np.mean((frame[..., :3].astype(float) - picture) ** 2)) < 20
        assert np.sqrt(np.mean((blurred(frame) - blurred(picture)) ** 2)) < 1.7, "dithered colours are right on average"


@pytest.mark.parametrize("colours", [1, 2, 3, 9, 200, 256])
def test_flat_drawings_are_exact(tmp_path: Path, colours: int) -> None:
    palette = np.random.default_rng(1).integers(0, 256, (colours, 3), dtype=np.uint8)
    picture = palette[np.arange(32 * 33).reshape(32, 33) % colours]
    (frame, _), _, _ = read(write(tmp_path / "flat.gif", [picture, picture[::-1].copy()]))
    np.testing.assert_array_equal(frame[..., :3], picture)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (63, 37), (1, 40), (40, 1)])
def test_small_and_odd_sizes(tmp_path: Path, width: int, height: int) -> None:
    picture = np.full((height, width, 3), (10, 200, 30), np.uint8)
    frames, _, _ = read(write(tmp_path / "odd.gif", [picture]))
    np.testing.assert_array_equal(frames[0][..., :3], picture)


@pytest.mark.parametrize("fps", [1.0, 7.0, 10.0, 12.5, 24.0, 29.97, 30.0, 50.0])
def test_total_time_is_right(tmp_path: Path, fps: float) -> None:
    count = 60
    shades = [np.full((4, 4, 3), 4 * i, np.uint8) for i in range(count)]
    frames, delays, _ = read(write(tmp_path / "time.gif", shades, fps))
    assert [int(frame[0, 0, 0]) for frame in frames] == [4 * i for i in range(count)]
    assert min(delays) >= 20
    assert abs(sum(delays) - 1000 * count / fps) <= 5
    assert max(delays) - min(delays) <= 10, "rounding is spread over the frames"


@pytest.mark.parametrize("fps", [60.0, 120.0, 1000.0])
def test_too_fast_for_the_format_keeps_real_time(tmp_path: Path, fps: float) -> None:
    frames, delays, _ = read(write(tmp_path / "fast.gif", [np.full((4, 4, 3), i, np.uint8) for i in range(120)], fps))
    assert min(delays) >= 20 and frames[0][0, 0, 0] == 0
    assert abs(sum(delays) - 1000 * 120 / fps) <= 20
    assert len(frames) < 120


def test_one_fast_frame_is_written(tmp_path: Path) -> None:
    assert read(write(tmp_path / "one.gif", [photo()], fps=240))[0][0].shape == (64, 96, 4)


@pytest.mark.parametrize("flat", [True, False])
def test_transparency_clears_the_frame_before(tmp_path: Path, flat: bool) -> None:
    alpha = np.zeros((2, 64, 96, 1), np.uint8)
    alpha[0, :, :48] = 128  # left half shown, then right half
    alpha[1, :, 48:] = 255
    alpha[0, :, 48:] = 127
    colour = np.full((64, 96, 3), (250, 40, 90), np.uint8) if flat else photo()
    frames, _, info = read(write(tmp_path / "alpha.gif", [np.concatenate([colour, a], -1) for a in alpha]))
    assert "transparency" in info
    for frame, a in zip(frames, alpha, strict=True):
        np.testing.assert_array_equal(frame[..., 3], np.where(a[..., 0] < 128, 0, 255))
        shown = frame[..., 3] > 0
        assert np.abs(frame[..., :3][shown].astype(float) - colour[shown]).mean() < (1 if flat else 20)


def test_wholly_transparent_frame(tmp_path: Path) -> None:
    frames, _, _ = read(write(tmp_path / "clear.gif", [np.zeros((8, 8, 4), np.uint8)] * 2))
    assert frames[1][..., 3].max() == 0


def peak_memory(path: Path, count: int) -> int:
    picture = photo()
    tracemalloc.start()
    with GifWriter(path, 96, 64, 25) as gif:
        for i in range(count):
            gif.add(np.roll(picture, i, axis=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_stays_flat(tmp_path: Path) -> None:
    peak_memory(tmp_path / "warm.gif", 2)  # lazy imports
    short, long = peak_memory(tmp_path / "short.gif", 30), peak_memory(tmp_path / "long.gif", 300)
    assert (tmp_path / "long.gif").stat().st_size > 500_000, "too small a file to show that it was kept in memory"
    assert long < short + 50_000


def test_frames_are_on_disk_before_the_end_and_the_name_appears_last(tmp_path: Path) -> None:
    with GifWriter(tmp_path / "clip.gif", 96, 64, 10) as gif:
        for i in range(10):
            gif.add(photo(i))
        assert [path.name for path in tmp_path.iterdir()] == [".clip.gif.partial"]
        assert (tmp_path / ".clip.gif.partial").stat().st_size > 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["clip.gif"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_interrupted_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), GifWriter(tmp_path / "clip.gif", 96, 64, 10) as gif:
        gif.add(photo())
        raise error
    assert list(tmp_path.iterdir()) == []


def test_interrupted_keeps_an_older_file(tmp_path: Path) -> None:
    old = write(tmp_path / "clip.gif", [photo()]).read_bytes()
    with pytest.raises(KeyboardInterrupt), GifWriter(tmp_path / "clip.gif", 96, 64, 10):
        raise KeyboardInterrupt
    assert (tmp_path / "clip.gif").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_failing_rename_leaves_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "clip.gif").mkdir()
    with pytest.raises(OSError):
        write(tmp_path / "clip.gif", [photo()])
    assert [path.name for path in tmp_path.iterdir()] == ["clip.gif"]


def test_no_frames_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="No frame was added"), GifWriter(tmp_path / "clip.gif", 8, 8, 10):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.gif"
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="fps"):
            GifWriter(path, 8, 8, fps)
    with pytest.raises(VideoError, match="70000×8"):
        GifWriter(path, 70000, 8, 10)
    with pytest.raises(ValueError, match="context manager"):
        GifWriter(path, 8, 8, 10).add(np.zeros((8, 8, 3), np.uint8))
    with GifWriter(path, 8, 6, 10) as gif:
        gif.add(np.zeros((6, 8, 3), np.uint8))
        for bad in (np.zeros((8, 6, 3), np.uint8), np.zeros((6, 8), np.uint8), np.zeros((6, 8, 4), np.uint8), np.zeros((6, 8, 3))):
            with pytest.raises(ValueError, match="expected uint8"):
                gif.add(bad)


def test_fit_width_keeps_the_aspect_and_never_enlarges() -> None:
    assert fit_width(photo(), 48).shape == (32, 48, 3)
    assert fit_width(photo(), 31).shape == (21, 31, 3)
    assert fit_width(np.zeros((1, 500, 3), np.uint8), 10).shape == (1, 10, 3)
    np.testing.assert_array_equal(fit_width(photo(), 96), photo())
    np.testing.assert_array_equal(fit_width(photo(), 200), photo())
    np.testing.assert_allclose(fit_width(photo(), 24).mean((0, 1)), photo().mean((0, 1)), atol=2)
    with pytest.raises(ValueError, match="at least 1"):
        fit_width(photo(), 0)


def test_fit_width_averages_so_that_thin_lines_stay() -> None:
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::8] = 255
    assert fit_width(stripes, 8).std() < 25 and fit_width(stripes, 8).mean() > 20


def test_fit_width_does_not_let_hidden_colours_bleed() -> None:
    pixels = np.zeros((16, 17, 4), np.uint8)
    pixels[:, :9] = (255, 0, 0, 255)
    pixels[:, 9:] = (0, 255, 0, 0)
    small = fit_width(pixels, 4)
    assert small[small[..., 3] > 0][:, 1].max() <= 1
    assert 0 < small[..., 3].mean() < 255
