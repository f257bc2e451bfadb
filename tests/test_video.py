"""video.py against files written here with PyAV: pixels, order, rotation, alpha, damage, and a sentence for every bad input."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from autogaze_web.errors import VideoError
from autogaze_web.video import Orientation, Pixels, VideoFrame, VideoReader, open_video


def noise(count: int = 15, width: int = 64, height: int = 48, channels: int = 3) -> list[Pixels]:
    """Distinct random pictures [height, width, channels]; too random to compress, so that cutting a file in half cuts frames."""
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (height, width, channels), dtype=np.uint8) for _ in range(count)]


def corner(width: int, height: int) -> Pixels:
    """Black with a white top left quarter: shows every turn and mirror."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255
    return picture


def write(
    path: Path, pictures: list[Pixels], kind: str = "ffv1 bgr0", movflags: str = "", prepare: Callable[[Any], None] = lambda stream: None
) -> Path:
    """Encode uint8 [h, w, 3 or 4] pictures at 10 frames per second; `kind` is codec and pixel format, `prepare` gets the stream."""
    codec, pix_fmt = kind.split()
    form, options = path.suffix[1:].replace("mkv", "matroska"), {"movflags": movflags} if movflags else {}
    with path.open("wb") as file, av.open(file, "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        prepare(stream)
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, "rgba" if picture.shape[2] == 4 else "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path: Path) -> tuple[VideoReader, list[VideoFrame]]:
    with open_video(path) as reader:
        return reader, list(reader.frames())


def cut(path: Path, share: float) -> Path:
    os.truncate(path, int(path.stat().st_size * share))
    return path


def message(path: Path | str) -> str:
    with pytest.raises(VideoError) as caught:
        open_video(path)
    text = str(caught.value)
    assert text.isprintable(), "a message is one line without control characters"
    assert str(Path(path).parent) not in text or str(Path(path).parent) == ".", "a message names the file, not its folder"
    assert "Errno" not in text and "<none>" not in text
    return text


def test_lossless_frames_come_back_exactly_in_order(tmp_path: Path) -> None:
    pictures = noise()
    reader, frames = read(write(tmp_path / "clip.mkv", pictures))
    assert [frame.index for frame in frames] == list(range(15))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(15) / 10, atol=1e-3)
    for frame, picture in zip(frames, pictures, strict=True):
        np.testing.assert_array_equal(frame.pixels, picture)
        assert frame.pixels.flags.c_contiguous and frame.pixels.dtype == np.uint8
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
    assert [frame.pixels.shape for frame in frames] == [(height, width, 3)] * 15
    np.testing.assert_allclose([f.pixels.mean() for f in frames], [20 + 14 * i for i in range(15)], atol=20 if suffix == "gif" else 6)
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
        np.testing.assert_array_equal(part[0].pixels, pictures[3])
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
            np.testing.assert_array_equal(frame.pixels, picture)
            frame.pixels[:] = 77


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


@pytest.mark.parametrize(
    ("degrees", "mirror", "rotation"), [(0, False, 0), (-90, False, 90), (90, False, 270), (180, False, 180), (0, True, 0)]
)
def test_rotation(tmp_path: Path, degrees: int, mirror: bool, rotation: int) -> None:
    path = tmp_path / "turned.mov"
    write(path, [corner(8, 6)], "png rgb24", prepare=lambda stream: stream.set_display_rotation(degrees, hflip=mirror))
    reader, (frame,) = read(path)
    expected = np.rot90(corner(8, 6)[:, :: -1 if mirror else 1], degrees // 90)  # both count counterclockwise
    np.testing.assert_array_equal(frame.pixels, expected)
    assert frame.pixels.flags.c_contiguous
    assert (reader.info.rotation, reader.info.height, reader.info.width) == (rotation, *expected.shape[:2])


def test_phone_matrix_turns_clockwise() -> None:
    """A phone held upright writes [0 1 0 / -1 0 0 / h 0 1]; ffmpeg plays it with transpose=clock."""
    one = 1 << 16
    matrix = np.array([0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30], np.int32).tobytes()
    turn = Orientation.from_display_matrix(matrix)
    assert turn.rotation == 90
    np.testing.assert_array_equal(turn.apply(corner(8, 6)), np.rot90(corner(8, 6), -1))


@pytest.mark.parametrize(("exif_orientation", "quarter_turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_rotation_beside_side_data_that_pyav_cannot_name(tmp_path: Path, exif_orientation: int, quarter_turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = exif_orientation
    Image.fromarray(corner(32, 16)).save(tmp_path / "still.jpg", exif=exif, quality=95)
    _, (frame,) = read(tmp_path / "still.jpg")
    np.testing.assert_allclose(frame.pixels.astype(int), np.rot90(corner(32, 16), quarter_turns), atol=40)


@pytest.mark.parametrize(
    ("suffix", "kind", "tolerance"),
    [("mov", "png rgba", 0), ("mkv", "ffv1 bgra", 0), ("webm", "libvpx-vp9 yuva420p", 4)],
)
def test_alpha_is_composited_over_black(tmp_path: Path, suffix: str, kind: str, tolerance: int) -> None:
    picture = np.zeros((32, 48, 4), np.uint8)
    picture[:, :16] = (200, 100, 50, 255)
    picture[:, 16:32] = (200, 100, 50, 128)
    picture[:, 32:] = (200, 100, 50, 0)
    reader, frames = read(write(tmp_path / f"alpha.{suffix}", [picture] * 3, kind))
    assert reader.info.has_alpha and len(frames) == 3
    for column, expected in ((4, (200, 100, 50)), (24, (100, 50, 25)), (44, (0, 0, 0))):
        np.testing.assert_allclose(frames[1].pixels[16, column].astype(int), expected, atol=tolerance)


def test_colour_matrix_of_the_stream_is_used(tmp_path: Path) -> None:
    red = [np.full((48, 64, 3), (255, 0, 0), np.uint8)] * 2
    found = []
    for matrix in (1, 5):  # the same yuv values, tagged BT.709 and BT.601
        path = tmp_path / f"{matrix}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.colorspace = matrix
            for picture in red:
                frame = av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p")  # BT.601
                frame.colorspace = matrix
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        found.append(read(path)[1][0].pixels[20, 20].astype(int))
    np.testing.assert_allclose(found[1], (255, 0, 0), atol=4)
    np.testing.assert_allclose(found[0], (255, 23, 0), atol=4)


def test_size_changes_in_mid_stream(tmp_path: Path) -> None:
    small, large = (write(tmp_path / f"{w}.h264", noise(2, w, 32), "libx264 yuv420p").read_bytes() for w in (32, 64))
    (tmp_path / "both.h264").write_bytes(small + large)
    reader, frames = read(tmp_path / "both.h264")
    assert [frame.pixels.shape for frame in frames] == [(32, 32, 3)] * 2 + [(32, 64, 3)] * 2
    assert (reader.info.width, reader.info.height) == (32, 32)


@pytest.mark.parametrize(
    ("suffix", "kind"), [("mp4", "libx264 yuv420p"), ("mp4", "mpeg4 yuv420p"), ("webm", "libvpx-vp9 yuv420p"), ("mkv", "ffv1 bgr0")]
)
def test_cut_in_the_middle_gives_the_good_frames_and_a_warning(tmp_path: Path, suffix: str, kind: str) -> None:
    def no_reordering(stream: Any) -> None:
        stream.codec_context.max_b_frames = 0

    path = write(tmp_path / f"clip.{suffix}", noise(), kind, "faststart" if suffix == "mp4" else "", no_reordering)
    _, whole = read(path)
    reader, frames = read(cut(path, 0.6))
    assert 1 <= len(frames) < 15
    for frame, intact in zip(frames, whole, strict=False):
        np.testing.assert_array_equal(frame.pixels, intact.pixels)
    assert any("cut off" in warning for warning in reader.warnings), reader.warnings
    assert all(warning.startswith(f"clip.{suffix} ") and "\n" not in warning for warning in reader.warnings)


def test_damage_in_the_middle_keeps_what_comes_after(tmp_path: Path) -> None:
    pictures = noise(10)
    path = write(tmp_path / "clip.mov", pictures, "png rgb24")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    position, size = packets[4]
    data[position : position + size] = b"\xaa" * size
    path.write_bytes(data)
    reader, frames = read(path)
    assert len(frames) == 9
    np.testing.assert_array_equal(frames[3].pixels, pictures[3])
    np.testing.assert_array_equal(frames[4].pixels, pictures[5])
    assert reader.warnings == ["clip.mov is damaged: packets that could not be decoded: 1 (from frame 4 on)."]
    list(reader.frames())
    assert len(reader.warnings) == 1, "warnings are those of the latest pass"


def test_paths_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "void.mp4").touch()
    for name in ("notes.mp4", "notes.txt"):  # by its name FFmpeg would play a .txt as ANSI art
        (tmp_path / name).write_text("Dear diary,\n" * 200)
        assert f"{name} is not a video" in message(tmp_path / name)
    assert message(tmp_path / "gone.mp4").startswith("There is no file gone.mp4.")
    assert "clips is a folder" in message(tmp_path / "clips")
    assert "void.mp4 is empty (0 bytes)" in message(tmp_path / "void.mp4")
    assert "a\\x00b.mp4 cannot be opened" in message("a\0b.mp4")
    if hasattr(os, "mkfifo"):  # opening a pipe would wait for ever
        os.mkfifo(tmp_path / "pipe.mp4")
        assert "not an ordinary file" in message(tmp_path / "pipe.mp4")


def test_audio_only_names_its_codec(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "song.mp4 has no video track, only audio (aac)" in message(tmp_path / "song.mp4")


@pytest.mark.parametrize(("suffix", "options"), [("avi", {}), ("mp4", {"movflags": "empty_moov"})])
def test_track_without_frames(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    with av.open(str(tmp_path / f"none.{suffix}"), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    assert "has a video track (mpeg4), but the track holds no frame" in message(tmp_path / f"none.{suffix}")


def test_files_with_nothing_decodable(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.mkv", noise(3))
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_XYZ1"))
    assert "no decoder" in message(path)
    path = cut(write(tmp_path / "cut.mp4", noise(), "libx264 yuv420p"), 0.5)  # the index was at the end
    assert "cut.mp4 is an MP4 or MOV file without a readable index: it was probably cut off" in message(path)
    path = write(tmp_path / "bad.mov", noise(3), "png rgb24", "faststart")
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    path.write_bytes(data[:start] + b"\xaa" * (len(data) - start))
    assert "has a video track (png), but none of it can be decoded" in message(path)


@pytest.mark.parametrize("name", ["-i.mkv", "http:x.mkv", "concat:a.mkv|b.mkv", "pipe:0", "%03d.mkv", "clip", "日本.mkv"])
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pictures = noise(2)
    write(tmp_path / "plain.mkv", pictures).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_video(name) as reader:  # relative, so that the name is all there is
        assert reader.info.name == name
        np.testing.assert_array_equal([frame.pixels for frame in reader.frames()], pictures)


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines\x1b[31m\u202e.mp4"
    assert "two\\nlines\\x1b[31m\\u202e.mp4" in message(path)
    path.write_text("no video")
    assert "two\\nlines\\x1b[31m\\u202e.mp4 is not a video" in message(path)
    reader, frames = read(cut(write(path.with_suffix(".mkv"), noise()), 0.5))
    assert frames and reader.info.name.isprintable() and reader.warnings[0].isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere take only Unicode names")
def test_undecodable_bytes_in_names(tmp_path: Path) -> None:
    reader, frames = read(write(tmp_path / os.fsdecode(b"caf\xe9.mkv"), noise(2)))
    assert len(frames) == 2 and reader.info.name == "caf\\udce9.mkv"


@pytest.mark.parametrize("script", ["ffconcat version 1.0\nfile real.mkv\n", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nreal.mkv\n"])
def test_a_playlist_cannot_open_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    write(tmp_path / "real.mkv", noise(2))
    (tmp_path / "list.mp4").write_text(script)
    monkeypatch.chdir(tmp_path)
    assert "is not a video" in message("list.mp4")
