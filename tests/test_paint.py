"""`paint` draws what slow_paint draws, to the byte, in every mode; its region and its numbers are what the page on semantics says."""

from __future__ import annotations

from dataclasses import asdict, replace
from fractions import Fraction
from itertools import product
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from autogaze_web.config import ModelConfig
from autogaze_web.layout import Layout
from autogaze_web.paint import GEOMETRIES, MASK_MODES, OUTPUT_MODES, PaintPlan, PaintSettings, palette
from autogaze_web.tiles import Tiling
from graph_runs import Arrays, RunGraph, arrays
from slow_paint import Image, Painted, Scene, opaque, paint

LAYOUT = Layout((32, 64, 112, 224), 16)
SIZES = (  # width, height, tile columns, tile rows
    (1, 1, 1, 1),
    (3, 2, 1, 1),
    (2, 3, 3, 2),
    (37, 41, 1, 1),
    (63, 37, 1, 1),
    (224, 224, 1, 1),
    (56, 112, 1, 1),
    (91, 161, 1, 1),
    (82, 50, 3, 2),
    (97, 131, 2, 3),
    (336, 224, 3, 2),
    (500, 301, 3, 2),
)
SHARES = (0.0, 0.02, 0.3, 0.75, 1.0)  # of the cells that are on
NO_CELLS = np.zeros((1, 1, LAYOUT.cells), np.float32)


def tokens(*ids: int) -> NDArray[np.float32]:
    """One tile with these cells on."""
    emitted = NO_CELLS.copy()
    emitted[0, 0, list(ids)] = 1
    return emitted


def frames(scene: Scene, seed: int) -> tuple[Image, Image]:
    """A frame and the canvas left by earlier frames, of noise; opaque."""
    noise = np.random.default_rng(seed).integers(0, 256, (2, scene.height, scene.width, 3), np.uint8)
    return opaque(noise[0]), opaque(noise[1])


def choose_cells(scene: Scene, share: float, seed: int) -> NDArray[np.float32]:
    shape = (scene.tile_rows, scene.tile_columns, LAYOUT.cells)
    return (np.random.default_rng(seed).random(shape) < share).astype(np.float32)


def run(graphs: RunGraph, scene: Scene, frame: Image, canvas: Image, emitted: NDArray[np.float32]) -> Painted:
    """The graph's answer. In full-blend every frame is a keyframe: the picture under the white is the frame."""
    names = ("output_mode", "mask_mode", "geometry")
    settings = PaintSettings(
        **{name: asdict(scene)[name] for name in names}, blend_alpha=float(scene.alpha), mask_cell_scale=float(scene.cell_scale)
    )
    tiling = Tiling("tiled", scene.width, scene.height, scene.tile_columns, scene.tile_rows)
    plan = PaintPlan(tiling, LAYOUT, settings)
    tiles = [np.flatnonzero(tile).tolist() for tile in emitted.reshape(tiling.tiles, -1)]
    flags = plan.flags(scene.keyframe or settings.full_blend)
    given: Arrays = {"frame": frame, **arrays({"cells": plan.cells(tiles), **flags, **plan.feeds()})}
    if not settings.full_blend:
        given["canvas"] = canvas.astype(np.int32)
    outputs = graphs(settings.graph, given)
    kept = outputs.get("next.canvas", frame.astype(np.int32))  # full-blend keeps none
    assert kept.dtype == np.int32
    return Painted(outputs["mask_panel"], outputs["output_panel"], kept.astype(np.uint8), outputs["row_stats"])


def assert_same(got: Painted, expected: Painted, scene: Scene) -> None:
    for name in Painted._fields:
        ours, theirs = getattr(got, name), getattr(expected, name)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), f"{name} of {scene}"
        places = np.argwhere(ours != theirs)
        assert len(places) == 0, f"{name} of {scene}: {len(places)} differ, first {places[0]}: {ours[*places[0]]} for {theirs[*places[0]]}"


def test_layout_of_these_tests_is_upstreams(config: ModelConfig) -> None:
    assert config.layout == LAYOUT


@pytest.mark.parametrize(("output_mode", "mask_mode", "geometry"), [*product(OUTPUT_MODES, MASK_MODES, GEOMETRIES)])
def test_paints_as_the_slow_reference(graphs: RunGraph, output_mode: str, mask_mode: str, geometry: str) -> None:
    pick = Random(f"{output_mode} {mask_mode} {geometry}")
    for seed, (width, height, tile_columns, tile_rows) in enumerate(SIZES):
        scene = Scene(
            *(width, height, tile_columns, tile_rows),
            output_mode=output_mode,
            mask_mode=mask_mode,
            geometry=geometry,
            alpha=pick.choice(["0", "0.38", "0.5", "1"]),
            cell_scale=pick.choice(["0.5", "1", "1.3", "2"]),
            keyframe=pick.random() < 0.3,
        )
        frame, canvas = frames(scene, seed)
        emitted = choose_cells(scene, pick.choice(SHARES), seed)
        assert_same(run(graphs, scene, frame, canvas, emitted), paint(scene, frame, canvas, emitted), scene)


@pytest.mark.parametrize("alpha", ["0", "0.3", "0.38", "0.5", "1"])  # 0.3 · 255 is 76.5
def test_blends_every_level_as_the_slow_reference(graphs: RunGraph, alpha: str) -> None:
    frame = opaque(np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3))
    canvas = np.zeros((16, 16, 4), np.uint8)
    for output_mode, mask_mode in (("full-blend", "image-overlay"), ("full-blend", "image-mask-only")):
        scene = Scene(16, 16, output_mode=output_mode, mask_mode=mask_mode, alpha=alpha)
        for ids in range(4), range(69, 265):  # once the coarsest scale's fills, once the finest's borders
            assert_same(run(graphs, scene, frame, canvas, tokens(*ids)), paint(scene, frame, canvas, tokens(*ids)), scene)


@pytest.mark.parametrize(("geometry", "cell_scale"), [*product(GEOMETRIES, ("0.5", "1", "1.3"))])
def test_region_does_not_depend_on_the_mask_mode(graphs: RunGraph, geometry: str, cell_scale: str) -> None:
    overlay = Scene(83, 50, 3, 2, geometry=geometry, cell_scale=cell_scale)
    frame, canvas = frames(overlay, 7)
    emitted = choose_cells(overlay, 0.05, 7)
    first, *others = (run(graphs, replace(overlay, mask_mode=mode), frame, canvas, emitted) for mode in MASK_MODES)
    for other in others:
        assert_same(other._replace(mask_panel=first.mask_panel), first, overlay)
        assert not np.array_equal(other.mask_panel, first.mask_panel)


@pytest.mark.parametrize(("cell_scale", "share"), [*product(("0.5", "1", "1.3", "2"), (0.05, 0.3, 1.0))])
def test_deduplicated_keeps_the_union(graphs: RunGraph, cell_scale: str, share: float) -> None:
    native = Scene(97, 131, 2, 3, cell_scale=cell_scale)
    frame, canvas = frames(native, 3)
    emitted = choose_cells(native, share, 3)
    every, fewer = (run(graphs, replace(native, geometry=name), frame, canvas, emitted) for name in ("native", "deduplicated"))
    assert_same(fewer._replace(mask_panel=every.mask_panel), every, native)


@pytest.mark.parametrize("mask_mode", MASK_MODES)
def test_deduplicated_drops_what_coarser_cells_cover(graphs: RunGraph, mask_mode: str) -> None:
    scene = Scene(37, 41, mask_mode=mask_mode)
    frame, canvas = frames(scene, 5)
    everything, coarsest = tokens(*range(265)), tokens(0, 1, 2, 3)
    drawn = run(graphs, replace(scene, geometry="deduplicated"), frame, canvas, everything)
    assert_same(drawn, run(graphs, scene, frame, canvas, coarsest), scene)
    assert not np.array_equal(drawn.mask_panel, run(graphs, scene, frame, canvas, everything).mask_panel)


def test_deduplicated_keeps_cells_that_stick_out_by_a_pixel(graphs: RunGraph) -> None:
    scene = Scene(15, 16, geometry="deduplicated")  # the 2-grid's first column ends at 8, the 4-grid's second is [3, 8)
    frame, canvas = frames(scene, 5)
    covered, sticking_out = tokens(0, 5), tokens(0, 6)  # the 4-grid's third column is [7, 12)
    assert_same(run(graphs, scene, frame, canvas, covered), run(graphs, scene, frame, canvas, tokens(0)), scene)
    assert run(graphs, scene, frame, canvas, sticking_out).row_stats[0, 0] == 12


def test_effective_moves_a_cell_to_the_finest_cell_of_its_centre(graphs: RunGraph) -> None:
    scene = Scene(224, 224, geometry="effective")
    frame, canvas = frames(scene, 5)
    panel = run(graphs, scene, frame, canvas, tokens(3)).mask_panel  # last cell of the 2-grid: centre at 168, in 16-pixel cell 10
    rows, columns = np.nonzero(panel[..., :3].any(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (160, 175, 160, 175)
    assert panel[160, 160].tolist() == [255, 180, 0, 255] and panel[165, 165].tolist() == [107, 76, 0, 255]


def test_cells_show_fill_and_border_on_black(graphs: RunGraph) -> None:
    scene = Scene(28, 28)
    panel = run(graphs, scene, *frames(scene, 1), tokens(0, 20)).mask_panel
    assert panel[:4, :4, 0].tolist() == [[0] * 4] * 4  # the 7-grid's first cell, (0, 185, 255), over the 2-grid's
    assert panel[0, 0].tolist() == [0, 185, 255, 255] and panel[1, 1].tolist() == [0, 78, 107, 255]
    assert panel[0, 4].tolist() == [255, 180, 0, 255] and panel[4, 4].tolist() == [107, 76, 0, 255]
    assert panel[14, 14].tolist() == [0, 0, 0, 255]


def test_image_mask_only_is_transparent_black_outside(graphs: RunGraph) -> None:
    scene = Scene(28, 28, mask_mode="image-mask-only")
    panel = run(graphs, scene, *frames(scene, 1), tokens(0)).mask_panel
    assert panel[14:].max() == 0 and panel[:14, 14:].max() == 0 and panel[:14, :14, 3].min() == 255


def test_numbers_of_a_four_by_four_frame_are_those_counted_by_hand(graphs: RunGraph) -> None:
    frame, canvas = opaque(np.full((4, 4, 3), 10, np.uint8)), opaque(np.zeros((4, 4, 3), np.uint8))
    scene = Scene(4, 4, alpha="1")
    cell = tokens(0)  # the upper left quarter

    def numbers(scene: Scene) -> list[list[int]]:
        return [row.tolist() for row in run(graphs, scene, frame, canvas, cell).row_stats]

    assert numbers(scene) == [[2, 2, 0, 0], [2, 2, 0, 0], [600, 600, 1200, 1200]]
    assert numbers(replace(scene, keyframe=True)) == [[2, 2, 0, 0], [4] * 4, [0] * 4]
    assert numbers(replace(scene, output_mode="full-blend")) == [[2, 2, 0, 0], [4] * 4, [2 * 3 * 245**2] * 2 + [0, 0]]


def test_interframe_copies_only_the_cells_and_a_keyframe_everything(graphs: RunGraph) -> None:
    scene = Scene(4, 4)
    frame, canvas = frames(scene, 2)
    delta = run(graphs, scene, frame, canvas, tokens(0))
    assert (delta.canvas[:2, :2, :3] == frame[:2, :2, :3]).all() and (delta.canvas[2:, :, :3] == canvas[2:, :, :3]).all()
    assert (delta.output_panel == delta.canvas).all() and delta.canvas[..., 3].min() == 255
    assert (run(graphs, replace(scene, keyframe=True), frame, canvas, NO_CELLS).canvas[..., :3] == frame[..., :3]).all()


@pytest.mark.parametrize("size", [(1, 1), (37, 41), (41, 37), (225, 223)])
def test_each_pixel_counts_once_when_every_cell_is_on(graphs: RunGraph, size: tuple[int, int]) -> None:
    scene = Scene(*size, cell_scale="2")
    stats = run(graphs, scene, *frames(scene, 1), tokens(*range(265))).row_stats
    assert stats[0].tolist() == [scene.width] * scene.height


def test_squared_error_of_the_widest_row_fits_its_integer(graphs: RunGraph) -> None:
    frame, canvas = opaque(np.full((1, 8192, 3), 255, np.uint8)), opaque(np.zeros((1, 8192, 3), np.uint8))
    assert run(graphs, Scene(8192, 1), frame, canvas, NO_CELLS).row_stats[2].tolist() == [8192 * 3 * 255**2]


def test_grids_without_a_colour_of_their_own_take_one_by_scale() -> None:
    colours = palette(Layout((48, 64, 80), 16))
    assert colours[3::2] == [(255, 180, 0), (60, 220, 120), (0, 185, 255)]
    assert colours[:3] == [(0, 0, 0), (24, 24, 24), tuple(round(Fraction(42, 100) * channel) for channel in (255, 180, 0))]
