"""Gaze on another encoder's scales: `target_scales` and `target_patch_size` (upstream's resolution adaptation).

The frame becomes the square that the other encoder sees, cut into the model's tiles; a tile's grids laid side by side are the other
encoder's grids.
"""

from __future__ import annotations

from autogaze_web.config import ModelConfig
from autogaze_web.errors import SettingsError
from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.layout import Layout
from autogaze_web.settings import GazeSettings
from autogaze_web.tiles import Tiling

MOST_TILES_ACROSS = 16  # 256 tiles, a square of 3,584 pixels


def target_layout(settings: GazeSettings, config: ModelConfig) -> Layout:
    """The other encoder's vocabulary; SettingsError where its grids are not whole tiles of the model's."""
    scales, patch = tuple(sorted(settings.target_scales or ())), settings.target_patch_size
    own = "+".join(map(str, config.scales))
    wanted = f"{own} with patches of {config.patch}, or all of these scales the same multiple, up to {MOST_TILES_ACROSS} times as large"
    found = f"target_scales {'+'.join(map(str, scales))} with target_patch_size {patch}"
    if patch != config.patch or len(scales) != len(config.scales):
        raise SettingsError(f"{found} cannot be looked at by this model; it takes {wanted}.")
    times = scales[-1] // config.scales[-1]
    if not 1 <= times <= MOST_TILES_ACROSS or scales != tuple(times * scale for scale in config.scales):
        raise SettingsError(f"{found} cannot be looked at by this model; it takes {wanted}.")
    return Layout(scales, patch)


def target_tiling(settings: GazeSettings, width: int, height: int, config: ModelConfig) -> Tiling:
    """The frame stretched to the target's square, in tiles of the model's input."""
    times = target_layout(settings, config).scales[-1] // config.input_size
    return Tiling("tiled", width, height, times, times)


def to_target(gaze: FrameGaze, tiling: Tiling, layout: Layout, target: Layout) -> FrameGaze:
    """A frame's gaze of all tiles as one row on the target's grids, ids ascending, as upstream gives it back.

    The order of choosing is lost, and with it what was predicted a slot.
    """
    ids = sorted(to_target_id(tile, token, tiling, layout, target) for tile in range(tiling.tiles) for token in gaze.cells(tile))
    return FrameGaze([ids], [[True] * len(ids)], [[]], [[]])


def to_target_id(tile: int, token: int, tiling: Tiling, layout: Layout, target: Layout) -> int:
    """The target's id of a tile's cell."""
    scale, row, column = layout.locate(token)
    tile_row, tile_column = divmod(tile, tiling.columns)
    grid = layout.grids[scale]
    return target.offsets[scale] + (tile_row * grid + row) * target.grids[scale] + tile_column * grid + column
