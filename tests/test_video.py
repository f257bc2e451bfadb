"""video.py against files written here: every frame, in order, at its time, with flat memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from autogaze_web.video import open_video
from video_files import noise, pixels, read, write


def test_lossless_frames_come_back_exactly_in_order(tmp_path: Path) -> None:
    pictures = noise()
    reader, frames = read(write(tmp_path / "clip.mkv", pictures))
    assert [frame.index for frame in frames] == list(range(15))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(15) / 10, atol=1e-3)
    for frame, picture in zip(frames, pictures, strict=True):
        np.testing.assert_array_equal(pixels(frame), picture)
        assert pixels(frame).flags.c_contiguous and pixels(frame).dtype == np.uint8
    info = reader.info
    assert (info.name, info.codec, info.width, info.height, info.rotation) == ("clip.mkv", "ffv1", 64, 48, 0)
    assert (info.fps, info.frames, info.duration_s, info.has_alpha) == (10.0, None, 1.5, False)
    assert reader.warnings == []


@pytest.mark.parametrize(
    ("suffix", "kind", "name", "width", "height"),
    [
        ("mp4", "libx264 yuv420p", "h264", 64, 48),
        ("mp4", "libx264 yuv420p", "h264", 48, 96),
        ("mp4", "mpeg4 yuv420p", "mpeg4", 63, 37),
        ("webm", "libvpx yuv420p", "vp8", 63, 37),
        ("webm", "libvpx-vp9 yuv444p", "vp9", 63, 37),
        ("mp4", "libsvtav1 yuv420p", "av1", 64, 64),
        ("avi", "ffv1 bgr0", "ffv1", 1, 1),
        ("mov", "png rgb24", "png", 1, 1),
        ("gif", "gif rgb8", "gif", 63, 37),
    ],
)
def test_common_codecs(tmp_path: Path, suffix: str, kind: str, name: str, width: int, height: int) -> None:
    if (codec := kind.split()[0]) not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec} encoder")
    grey = [np.full((height, width, 3), 20 + 14 * i, np.uint8) for i in range(15)]
    reader, frames = read(write(tmp_path / f"clip.{suffix}", grey, kind))
    assert (reader.info.codec, reader.info.width, reader.info.height, reader.info.fps) == (name, width, height, 10.0)
    assert reader.info.frames == (None if suffix == "webm" else 15)
    assert reader.info.duration_s == pytest.approx(1.5)
    assert [pixels(frame).shape for frame in frames] == [(height, width, 3)] * 15
    np.testing.assert_allclose([pixels(f).mean() for f in frames], [20 + 14 * i for i in range(15)], atol=20 if suffix == "gif" else 6)
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(15) / 10, atol=2e-3)
    assert reader.warnings == []


def test_one_frame(tmp_path: Path) -> None:
    reader, (frame,) = read(write(tmp_path / "one.mp4", noise(1), "libx264 yuv420p"))
    assert (frame.index, frame.time_s, reader.info.frames, reader.info.duration_s) == (0, 0.0, 1, 0.1)


def test_time_starts_at_zero_where_the_container_starts_later(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mpegts", noise(5), "libx264 yuv420p")
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time > 0, "this file does not test what it should"
    _, frames = read(path)
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(5) / 10, atol=1e-3)


def test_limit_start_and_second_pass(tmp_path: Path) -> None:
    pictures = noise(6)
    with open_video(write(tmp_path / "clip.mkv", pictures)) as reader:
        part = list(reader.frames(limit=2, start=3))
        assert [frame.index for frame in part] == [3, 4]
        assert reader.warnings == [], "stopping early is no damage"
        assert [round(frame.time_s, 2) for frame in part] == [0.3, 0.4]
        np.testing.assert_array_equal(pixels(part[0]), pictures[3])
        assert list(reader.frames(limit=0)) == [] == list(reader.frames(start=6))
        first, second = reader.frames(), reader.frames()  # passes do not disturb each other
        assert [next(first).index, next(first).index, next(second).index, next(first).index] == [0, 1, 0, 2]
        with pytest.raises(ValueError, match="negative"):
            reader.frames(start=-1)
    assert next(first, None) is None, "closing the reader ends its passes"


def test_frames_are_not_shared_with_the_decoder(tmp_path: Path) -> None:
    first = noise(1)[0]
    second = first.copy()
    second[:3, :3] = 0  # an animated PNG stores the changed corner only and draws it on the decoder's last frame
    Image.fromarray(first).save(tmp_path / "clip.png", save_all=True, append_images=[Image.fromarray(second)])
    with open_video(tmp_path / "clip.png") as reader:
        for frame, picture in zip(reader.frames(), (first, second), strict=True):
            np.testing.assert_array_equal(pixels(frame), picture)
            frame.stored.planes[0][:] = 77


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.avi", noise(4, 160, 120) * 25)
    size = 160 * 120 * 3
    tracemalloc.start()
    with open_video(path) as reader:
        count = sum(1 for _ in reader.frames())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100
    assert peak < 10 * size, f"{peak / size:.0f} frames held at once"


def test_size_changes_in_mid_stream(tmp_path: Path) -> None:
    small, large = (write(tmp_path / f"{w}.h264", noise(2, w, 32), "libx264 yuv420p").read_bytes() for w in (32, 64))
    (tmp_path / "both.h264").write_bytes(small + large)
    reader, frames = read(tmp_path / "both.h264")
    assert [pixels(frame).shape for frame in frames] == [(32, 32, 3)] * 2 + [(32, 64, 3)] * 2
    assert (reader.info.width, reader.info.height) == (32, 32)
