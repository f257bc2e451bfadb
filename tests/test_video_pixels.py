"""What a decoded frame looks like: planes as decoded, turns and mirrors, transparency, matrix and range."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from PIL import Image

import slow_colour
from autogaze_web.colour import FORMATS
from autogaze_web.planes import Orientation, stored_picture
from video_files import corner, noise, pixels, read, write


@pytest.mark.parametrize(
    ("degrees", "mirror", "rotation"), [(0, False, 0), (-90, False, 90), (90, False, 270), (180, False, 180), (0, True, 0)]
)
def test_rotation(tmp_path: Path, degrees: int, mirror: bool, rotation: int) -> None:
    path = tmp_path / "turned.mov"
    write(path, [corner(8, 6)], "png rgb24", prepare=lambda stream: stream.set_display_rotation(degrees, hflip=mirror))
    reader, (frame,) = read(path)
    expected = np.rot90(corner(8, 6)[:, :: -1 if mirror else 1], degrees // 90)  # both count counterclockwise
    np.testing.assert_array_equal(pixels(frame), expected)
    assert pixels(frame).flags.c_contiguous
    assert (reader.info.rotation, reader.info.height, reader.info.width) == (rotation, *expected.shape[:2])


def test_phone_matrix_turns_clockwise() -> None:
    """A phone held upright writes [0 1 0 / -1 0 0 / h 0 1]; ffmpeg plays it with transpose=clock."""
    one = 1 << 16
    matrix = np.array([0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30], np.int32).tobytes()
    turn = Orientation.from_display_matrix(matrix)
    assert turn.rotation == 90
    np.testing.assert_array_equal(slow_colour.turned(corner(8, 6), turn), np.rot90(corner(8, 6), -1))


@pytest.mark.parametrize(("exif_orientation", "quarter_turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_rotation_beside_side_data_that_pyav_cannot_name(tmp_path: Path, exif_orientation: int, quarter_turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = exif_orientation
    Image.fromarray(corner(32, 16)).save(tmp_path / "still.jpg", exif=exif, quality=95)
    _, (frame,) = read(tmp_path / "still.jpg")
    np.testing.assert_allclose(pixels(frame).astype(int), np.rot90(corner(32, 16), quarter_turns), atol=40)


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
        np.testing.assert_allclose(pixels(frames[1])[16, column].astype(int), expected, atol=tolerance)


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
        found.append(pixels(read(path)[1][0])[20, 20].astype(int))
    np.testing.assert_allclose(found[1], (255, 0, 0), atol=4)
    np.testing.assert_allclose(found[0], (255, 23, 0), atol=4)


@pytest.mark.parametrize(
    ("suffix", "kind", "format"),
    [
        *(("mkv", "ffv1 yuv420p", "I420"), ("mkv", "ffv1 yuv422p", "I422"), ("mkv", "ffv1 yuv444p", "I444")),
        *(("mp4", "libx264 nv12", "I420"), ("webm", "libvpx-vp9 yuv420p", "I420"), ("mkv", "rawvideo nv12", "NV12")),
        *(
            ("avi", "mjpeg yuvj422p", "I422"),
            ("mkv", "ffv1 yuv420p10le", "RGBA"),
            ("mkv", "ffv1 gray", "RGBA"),
            ("mkv", "ffv1 bgr0", "RGBA"),
        ),
    ],
)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 37), (1, 1)])
def test_planes_are_those_that_were_decoded(tmp_path: Path, suffix: str, kind: str, format: str, width: int, height: int) -> None:
    if kind == "libx264 nv12" and (width % 2 or height % 2):
        pytest.skip("x264 wants even sides")
    path = write(tmp_path / f"clip.{suffix}", noise(3, width, height), kind)
    _, frames = read(path)
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    assert len(frames) == len(decoded) == 3
    for frame, original in zip(frames, decoded, strict=True):
        stored = frame.stored
        assert (stored.format, stored.width, stored.height) == (format, width, height)
        assert [plane.shape for plane in stored.planes] == FORMATS[format].sizes(width, height)
        assert stored.full_range == ("yuvj" in kind)
        if format == "RGBA":
            np.testing.assert_array_equal(pixels(frame), original.to_ndarray(format="rgb24"))
            continue
        for plane, given in zip(stored.planes, original.planes, strict=True):
            lines = np.frombuffer(memoryview(given), np.uint8).reshape(-1, given.line_size)
            np.testing.assert_array_equal(plane, lines[: plane.shape[0], : plane.shape[1]])
            assert plane.flags.c_contiguous and plane.flags.owndata


def test_a_picture_stored_from_the_bottom_up() -> None:
    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(width=64, height=48, format="yuv420p", time_base=Fraction(1, 10)),
        graph.add("vflip"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    upright = av.VideoFrame.from_ndarray(corner(64, 48)).reformat(format="yuv420p")
    graph.vpush(upright)
    flipped = graph.vpull()
    found = slow_colour.rgb(stored_picture(flipped, VideoReformatter()))
    np.testing.assert_allclose(found.astype(int), np.flipud(corner(64, 48)), atol=3)


def test_range_of_the_stream_is_used(tmp_path: Path) -> None:
    def full(stream: Any) -> None:
        stream.codec_context.color_range = 2

    grey = [np.full((48, 64, 3), 128, np.uint8)]
    limited, wide = (
        read(write(tmp_path / f"{name}.mp4", grey, "libx264 yuv420p", prepare=prepare))[1][0].stored
        for name, prepare in (("limited", lambda stream: None), ("full", full))
    )
    assert (limited.full_range, wide.full_range) == (False, True)
