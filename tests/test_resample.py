"""`prepare` computes what Pillow, transformers' image processor and PyTorch compute: to the bit up to the bicubic step, then closely."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from autogaze_export.graphs.prepare import resize
from autogaze_web.config import ModelConfig, PreprocessorConfig
from autogaze_web.resample import Taps, level_table, pillow_bilinear, resize_pass, torch_bicubic
from autogaze_web.tiles import plan_tiles, prepare_feeds, shortest_edge
from graph_runs import Arrays, RunGraph, arrays

BILINEAR = Image.Resampling.BILINEAR
PATCH = 16
sides = st.integers(1, 150)


def noise(width: int, height: int, channels: int = 3) -> NDArray[np.uint8]:
    """A frame of noise, with plenty of the darkest and brightest levels, where rounding and clipping go wrong."""
    generator = np.random.default_rng(width * 10_007 + height)
    levels = generator.integers(-60, 316, (height, width, channels))
    return levels.clip(0, 255).astype(np.uint8)


def pillow(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Red, green and blue as Pillow resizes them: columns, then rows. Two calls, because Pillow 13 takes the rows of a tall frame first."""
    image = Image.fromarray(np.ascontiguousarray(frame[..., :3]))
    return np.asarray(image.resize((width, image.height), BILINEAR).resize((width, height), BILINEAR))


def ours(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float32]:
    """The 8-bit stage of `prepare`, less what the last block is filled up with."""
    feeds: list[torch.Tensor] = []
    for taps in (pillow_bilinear(frame.shape[1], width), pillow_bilinear(frame.shape[0], height)):
        given = resize_pass(taps, PATCH)
        feeds += map(torch.from_numpy, arrays({"index": given.index, "weights": given.weights}).values())
    result: NDArray[np.float32] = resize(torch.from_numpy(frame), *feeds).floor().numpy()
    return result[:height, :width]


def assert_as_pillow(frame: NDArray[np.uint8], width: int, height: int) -> None:
    assert np.array_equal(ours(frame, width, height), pillow(frame, width, height))


@given(sides, sides, sides, sides)
@example(1, 1, 1, 1)
@example(1, 1, 150, 150)
@example(150, 150, 1, 1)
@example(7, 5, 7, 5)
@settings(max_examples=60, deadline=None)
def test_resize_equals_pillow_to_the_bit(width: int, height: int, to_width: int, to_height: int) -> None:
    assert_as_pillow(noise(width, height), to_width, to_height)


@pytest.mark.parametrize(
    ("frame", "target"),
    [
        ((1920, 1080), (398, 224)),
        ((1920, 1080), (2016, 1120)),
        ((640, 480), (298, 224)),
        ((896, 896), (224, 224)),
        ((1001, 333), (673, 224)),
        ((37, 41), (224, 248)),
        ((2160, 3), (8, 224)),
        ((4096, 2), (16, 2)),
    ],
)
def test_resize_of_known_sizes_equals_pillow_to_the_bit(frame: tuple[int, int], target: tuple[int, int]) -> None:
    assert_as_pillow(noise(*frame), *target)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (640, 480), (37, 41), (4096, 300)])
def test_resize_to_the_shortest_edge_equals_a_single_call_of_pillow(width: int, height: int) -> None:
    frame, target = noise(width, height), shortest_edge(width, height, 224)
    assert np.array_equal(ours(frame, *target), np.asarray(Image.fromarray(frame).resize(target, BILINEAR)))


@pytest.mark.parametrize("level", [1, 254, 255])
def test_a_flat_frame_stays_flat(level: int) -> None:
    assert (ours(np.full((333, 999, 3), level, np.uint8), 224, 224) == level).all()


def test_alpha_is_ignored() -> None:
    frame = noise(63, 37, channels=4)
    assert_as_pillow(frame, 224, 131)
    assert np.array_equal(ours(frame, 224, 131), ours(np.ascontiguousarray(frame[..., :3]), 224, 131))


def test_taps_of_a_shrink_by_two_and_of_a_grow_by_two() -> None:
    unit = 1 << 22
    shrunk: list[Taps] = pillow_bilinear(4, 2)
    assert shrunk == [(0, [round(unit * 3 / 7), round(unit * 3 / 7), round(unit / 7)]), (1, [round(unit / 7), *[round(unit * 3 / 7)] * 2])]
    assert pillow_bilinear(2, 4) == [(0, [unit]), (0, [unit * 3 // 4, unit // 4]), (0, [unit // 4, unit * 3 // 4]), (1, [unit])]


@given(st.integers(1, 700), st.integers(1, 300))
@example(223, 224)
@example(298, 224)
@example(224, 224)
@example(1, 224)
@settings(max_examples=40, deadline=None)
def test_bicubic_weights_equal_pytorchs(source: int, target: int) -> None:
    matrix = np.zeros((source, target))
    for output, (pixels, weights) in enumerate(torch_bicubic(source, target)):
        np.add.at(matrix[:, output], pixels, weights)
    impulses = torch.eye(source)[None, :, None]  # each pixel alone, as a channel
    expected = F.interpolate(impulses, size=(1, target), mode="bicubic", align_corners=False)[0, :, 0]
    assert np.abs(matrix - expected.numpy()).max() < 2e-6


def test_levels_are_normalised_as_transformers_does(preprocessor: PreprocessorConfig) -> None:
    rescaled = (np.arange(256, dtype=np.uint8).astype(np.float64) * preprocessor.rescale_factor).astype(np.float32) - np.float32(1)
    table = arrays({"levels": level_table(preprocessor)})["levels"].reshape(3, 256)
    for row, mean, std in zip(table, preprocessor.mean, preprocessor.std, strict=True):
        assert np.array_equal(row, (rescaled - np.float32(mean)) / np.float32(std))
    assert table[0, [0, 255]].tolist() == pytest.approx([-1.485 / 0.229, 0.515 / 0.229])


def test_levels_without_the_offset_are_not_shifted(preprocessor: PreprocessorConfig) -> None:
    plain = PreprocessorConfig(224, "bilinear", 1 / 255, False, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert arrays({"levels": level_table(plain)})["levels"][[0, 255]].tolist() == [-1, 1]


def feeds(mode: str, frame: NDArray[np.uint8], config: ModelConfig, preprocessor: PreprocessorConfig) -> Arrays:
    height, width = frame.shape[:2]
    return {"frame": frame} | arrays(prepare_feeds(plan_tiles(mode, width, height, config), config, preprocessor))


def normalised(picture: NDArray[np.uint8], preprocessor: PreprocessorConfig) -> torch.Tensor:
    """[h, w, 3] -> [1, 3, h, w], with PyTorch's arithmetic."""
    rescaled = torch.from_numpy(picture.astype(np.float64) * preprocessor.rescale_factor).float() - 1
    values = (rescaled - torch.tensor(preprocessor.mean)) / torch.tensor(preprocessor.std)
    return values.permute(2, 0, 1)[None]


def squared(picture: NDArray[np.uint8], preprocessor: PreprocessorConfig) -> NDArray[np.float32]:
    """The model's input as upstream computes it from the resized frame: [1, 3, 224, 224]."""
    values = normalised(picture, preprocessor)
    result: NDArray[np.float32] = F.interpolate(values, size=(224, 224), mode="bicubic", align_corners=False).numpy()
    return result


@pytest.mark.parametrize(
    ("width", "height"),
    [(1, 1), (2, 3), (37, 41), (224, 224), (300, 224), (223, 225), (640, 480), (480, 640), (200, 40), (1920, 1080)],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_prepare_equals_pillow_then_pytorch(
    graphs: RunGraph, config: ModelConfig, preprocessor: PreprocessorConfig, width: int, height: int, channels: int
) -> None:
    frame = noise(width, height, channels)
    tiles = graphs("prepare", feeds("resize", frame, config, preprocessor))["tiles"]
    expected = squared(pillow(frame, *shortest_edge(width, height, 224)), preprocessor)
    assert tiles.shape == expected.shape and tiles.dtype == expected.dtype
    assert np.abs(tiles - expected).max() < 5e-6


def test_prepare_of_a_frame_of_one_row(graphs: RunGraph, config: ModelConfig, preprocessor: PreprocessorConfig) -> None:
    frame = noise(4096, 1)
    tiles = graphs("prepare", feeds("resize", frame, config, preprocessor))["tiles"]
    row = pillow(frame, *shortest_edge(4096, 1, 224)[:1], 1)  # of the 224 equal rows of 917,504 pixels
    assert np.abs(tiles - squared(row, preprocessor)).max() < 5e-6


def test_prepare_of_a_frame_of_three_columns(graphs: RunGraph, config: ModelConfig, preprocessor: PreprocessorConfig) -> None:
    frame = noise(3, 2000)
    tiles = graphs("prepare", feeds("resize", frame, config, preprocessor))["tiles"]
    resized = pillow(frame, *shortest_edge(3, 2000, 224))  # 224 columns already, so that each column of the square is one of its own
    for first in (0, 96, 208):
        strip = normalised(np.ascontiguousarray(resized[:, first : first + 16]), preprocessor)
        expected = F.interpolate(strip, size=(224, 16), mode="bicubic", align_corners=False).numpy()
        assert np.abs(tiles[..., first : first + 16] - expected).max() < 5e-6


@pytest.mark.parametrize(("width", "height", "columns", "rows"), [(1, 1, 1, 1), (224, 448, 1, 2), (500, 300, 3, 2), (230, 660, 2, 3)])
def test_prepare_tiled_cuts_the_stretched_frame_row_by_row(
    graphs: RunGraph, config: ModelConfig, preprocessor: PreprocessorConfig, width: int, height: int, columns: int, rows: int
) -> None:
    frame = noise(width, height, channels=4)
    tiles = graphs("prepare_tiled", feeds("tiled", frame, config, preprocessor))["tiles"]
    stretched = normalised(pillow(frame, columns * 224, rows * 224), preprocessor).numpy()[0]
    expected = [stretched[:, y : y + 224, x : x + 224] for y in range(0, rows * 224, 224) for x in range(0, columns * 224, 224)]
    assert np.array_equal(tiles, np.stack(expected))
