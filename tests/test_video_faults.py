"""Damaged files, bad paths and hostile names: good frames and a warning, or one sentence that helps."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from autogaze_web.errors import VideoError
from autogaze_web.video import open_video
from video_files import cut, noise, pixels, read, write


def message(path: Path | str) -> str:
    with pytest.raises(VideoError) as caught:
        open_video(path)
    text = str(caught.value)
    assert text.isprintable(), "a message is one line without control characters"
    assert str(Path(path).parent) not in text or str(Path(path).parent) == ".", "a message names the file, not its folder"
    assert "Errno" not in text and "<none>" not in text
    return text


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
        np.testing.assert_array_equal(pixels(frame), pixels(intact))
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
    np.testing.assert_array_equal(pixels(frames[3]), pictures[3])
    np.testing.assert_array_equal(pixels(frames[4]), pictures[5])
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
        np.testing.assert_array_equal([pixels(frame) for frame in reader.frames()], pictures)


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
