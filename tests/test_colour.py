"""Planes become RGB: bytes equal to a slow reference in PyTorch and ONNX Runtime, and close to FFmpeg's scaler."""

from __future__ import annotations

import asyncio
from array import array
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze_web.colour import FORMATS, MATRICES, RGB, Colours, Picture, coefficients, colour_feeds, full_range_of, matrix_of
from autogaze_web.model_folder import read_model
from autogaze_web.planes import Orientation, Pixels, StoredPicture, stored_picture
from graph_runs import RunGraph, arrays
from slow_colour import rgb
from strict_runtime import Strict

flags = st.booleans()
turns = st.builds(Orientation, flags, flags, flags)


def noise(format: str, width: int, height: int, padding: int = 0, seed: int = 0) -> tuple[Pixels, ...]:
    """Planes of noise, with plenty of the darkest and brightest levels, lines and rows longer than what is visible."""
    generator = np.random.default_rng(seed)
    sizes = FORMATS[format].sizes(width, height)
    return tuple(generator.integers(-60, 316, (rows + padding, line + padding)).clip(0, 255).astype(np.uint8) for rows, line in sizes)


def picture(stored: StoredPicture) -> Picture:
    """Without a runtime: the planes stay NumPy's."""
    return stored.handed(0, 0.0, lambda plane: plane)


def run(graphs: RunGraph, stored: StoredPicture) -> Pixels:
    """The frame by the graphs, uint8 [height, width, 4]."""
    luma, blue, red = (stored.planes[plane] for plane in FORMATS[stored.format].planes)
    feeds = {"luma": luma, "blue": blue, "red": red, **arrays(colour_feeds(picture(stored).kind))}
    frame: Pixels = graphs("rgb_turned" if stored.orientation.swap else "rgb", feeds)["frame"]
    return frame


def assert_as_the_reference(graphs: RunGraph, stored: StoredPicture) -> None:
    frame = run(graphs, stored)
    assert frame.dtype == np.uint8 and (frame[..., 3] == 255).all()
    np.testing.assert_array_equal(frame[..., :3], rgb(stored))


@given(
    st.sampled_from(list(FORMATS)),
    st.sampled_from([*MATRICES, RGB]),
    flags,
    turns,
    *(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5)),
)
@settings(max_examples=150, deadline=None)
def test_every_byte_is_the_references(
    graphs: RunGraph, format: str, matrix: str, full_range: bool, turn: Orientation, width: int, height: int, padding: int
) -> None:
    planes = noise(format, width, height, padding, seed=width * 41 + height)
    assert_as_the_reference(graphs, StoredPicture(width, height, format, matrix, full_range, turn, planes))


@pytest.mark.parametrize("matrix", [*MATRICES, RGB])
@pytest.mark.parametrize("full_range", [False, True])
def test_every_level_of_luma_and_extreme_chroma(graphs: RunGraph, matrix: str, full_range: bool) -> None:
    chroma = np.array([0, 1, 15, 16, 64, 127, 128, 129, 200, 239, 240, 241, 254, 255], np.uint8)
    cb, cr = np.repeat(chroma, len(chroma)), np.tile(chroma, len(chroma))
    y = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, len(cb)))
    planes = tuple(np.ascontiguousarray(np.broadcast_to(plane, y.shape)) for plane in (y, cb, cr))
    assert_as_the_reference(graphs, StoredPicture(len(cb), 256, "I444", matrix, full_range, Orientation(), planes))


def test_a_large_picture(graphs: RunGraph) -> None:
    turn = Orientation(True, True, False)  # a phone held upright
    assert_as_the_reference(graphs, StoredPicture(1920, 1080, "NV12", "bt709", False, turn, noise("NV12", 1920, 1080, 8)))


@pytest.mark.parametrize(("full_range", "black", "white"), [(False, 16, 235), (True, 0, 255)])
@pytest.mark.parametrize("matrix", MATRICES)
def test_grey_is_grey(graphs: RunGraph, matrix: str, full_range: bool, black: int, white: int) -> None:
    y = np.arange(256, dtype=np.uint8)[None]
    frame = run(graphs, StoredPicture(256, 1, "I444", matrix, full_range, Orientation(), (y, np.full_like(y, 128), np.full_like(y, 128))))
    red, green, blue = (frame[0, :, channel].astype(int) for channel in range(3))
    assert (red == green).all() and (red == blue).all()
    assert (red[: black + 1] == 0).all() and (red[white:] == 255).all() and (np.diff(red) >= 0).all()


def test_coefficients_are_those_of_the_standards() -> None:
    """H.273 with BT.601's and BT.709's weights: 255/219, 1.402 and 1.772 times 255/224 … in units of 2^-13."""

    def units(matrix: str, full_range: bool, name: str) -> list[int]:
        return [int(value * 8192) for value in array("f", coefficients(matrix, full_range)[name].data)]

    assert units("bt601", True, "luma_gain") == [8192, 8192, 8192, 0]
    assert units("bt601", True, "red_gain") == [round(1.402 * 8192), -round(0.714136 * 8192), 0, 0]
    assert units("bt601", True, "blue_gain") == [0, -round(0.344136 * 8192), round(1.772 * 8192), 0]
    assert units("bt709", True, "red_gain") == [round(1.5748 * 8192), -round(0.468124 * 8192), 0, 0]
    assert units("bt709", True, "blue_gain") == [0, -round(0.187324 * 8192), round(1.8556 * 8192), 0]
    assert units("bt601", False, "luma_gain") == [9539, 9539, 9539, 0]
    assert units("bt601", False, "red_gain") == [13075, -6660, 0, 0]
    assert units("bt709", False, "red_gain") == [14686, -4366, 0, 0]
    assert units("bt2020", False, "blue_gain") == [0, -1535, 17545, 0]


def test_every_sum_is_exact_in_float32() -> None:
    for matrix in (*MATRICES, RGB):
        for full_range in (False, True):
            columns = {name: array("f", feed.data) for name, feed in coefficients(matrix, full_range).items()}
            assert all((value * 8192).is_integer() for column in columns.values() for value in column)
            for channel in range(4):
                gains = [abs(columns[name][channel]) for name in ("luma_gain", "blue_gain", "red_gain")]
                assert (255 * sum(gains) + abs(columns["start"][channel])) * 8192 < 1 << 24


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        *(("bt709", "bt709"), ("smpte170m", "bt601"), ("bt470bg", "bt601"), ("bt2020-ncl", "bt2020"), ("rgb", RGB)),  # WebCodecs
        *(("gbr", RGB), ("bt2020nc", "bt2020"), ("fcc", "fcc"), ("smpte240m", "smpte240m")),  # FFmpeg
        *((None, "bt601"), ("", "bt601"), ("ycgco", "bt601")),
    ],
)
def test_names_of_matrices(name: str | None, matrix: str) -> None:
    assert matrix_of(name) == matrix


def test_a_range_that_is_not_told_is_limited() -> None:
    assert [full_range_of(told) for told in (None, False, True)] == [False, False, True]


def test_the_identity_needs_as_much_chroma_as_luma() -> None:
    kinds = {format: picture(StoredPicture(4, 4, format, RGB, True, Orientation(), noise(format, 4, 4))).kind for format in FORMATS}
    assert {format: kind.matrix for format, kind in kinds.items()} == {
        **{"I420": "bt601", "I422": "bt601", "NV12": "bt601", "I444": RGB},
        **dict.fromkeys(("RGBA", "RGBX", "BGRA", "BGRX"), RGB),
    }


@pytest.mark.parametrize("kind", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "nv12"])
@pytest.mark.parametrize("matrix", [0, 1, 2, 4, 5, 6, 7, 9])
def test_close_to_ffmpegs_scaler_on_a_smooth_picture(graphs: RunGraph, kind: str, matrix: int) -> None:
    if matrix == 0 and kind != "yuv444p":
        pytest.skip("the identity is for 4:4:4")
    height, width = 96, 128
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([127 + 90 * np.sin(x / 40), 127 + 90 * np.cos(y / 31), 127 + 90 * np.sin((x + y) / 53)], axis=-1).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(smooth).reformat(format=kind)
    frame.colorspace = matrix
    if matrix == 0:  # FFmpeg's scaler knows no identity: the planes say what is right
        green, blue, red = (np.frombuffer(memoryview(plane), np.uint8).reshape(height, -1)[:, :width] for plane in frame.planes)
        frame.color_range = 2
        expected = np.stack([red, green, blue], axis=-1)
    else:
        whole = frame if "yuvj" in kind else frame.reformat(format="yuv444p")  # straight from 4:2:0 the scaler is quick and a little dark
        whole.colorspace = matrix
        expected = whole.reformat(format="rgb24").to_ndarray()
    ours = run(graphs, stored_picture(frame, VideoReformatter()))[..., :3]
    gaps = np.abs(ours.astype(int) - expected)
    assert gaps.mean() < 1 and np.percentile(gaps, 99) <= 3


def test_colours_give_back_every_tensor(tiny_model: Path) -> None:
    runtime = Strict(read_model(tiny_model))
    colours = Colours(runtime)

    async def convert() -> None:
        for index, (width, height, swap) in enumerate([(8, 6, False), (8, 6, False), (8, 6, True), (10, 6, True)]):
            stored = StoredPicture(width, height, "NV12", "bt709", False, Orientation(swap), noise("NV12", width, height))
            frame = await colours.frame(stored.handed(index, 0.0, runtime.adopt))
            assert (frame.index, frame.width, frame.height) == (index, *((height, width) if swap else (width, height)))
            assert len(runtime.live) == 1 + len(colours.feeds)
            runtime.release([frame.pixels])

    asyncio.run(convert())
    colours.release()
    assert not runtime.live


def test_planes_are_released_when_a_run_fails(tiny_model: Path) -> None:
    runtime = Strict(read_model(tiny_model), fail_at=1)
    colours = Colours(runtime)
    stored = StoredPicture(4, 4, "I420", "bt709", False, Orientation(), noise("I420", 4, 4))
    with pytest.raises(RuntimeError, match="device lost"):
        asyncio.run(colours.frame(stored.handed(0, 0.0, runtime.adopt)))
    colours.release()
    assert not runtime.live
