"""What the gate runs, as data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from autogaze_web.paint import GEOMETRIES, MASK_MODES, OUTPUT_MODES, PaintSettings
from autogaze_web.settings import GazeSettings

BUILT_IN, NOISE = "built-in", "noise"  # models: the one that ships; seeded noise in the same sizes, whose stops are ragged


@dataclass(frozen=True)
class Case:
    """Frames of a clip through the pipeline."""

    name: str
    about: str
    model: str  # BUILT_IN or NOISE
    clip: str  # of CLIPS
    gaze: GazeSettings
    paints: tuple[PaintSettings, ...] = (PaintSettings(),)  # each over all frames, with the gaze of one run
    short: bool = False  # whether it is for devices that take seconds for a step


@dataclass(frozen=True)
class Clip:
    """Frames cut out of the sample clip: I420 planes."""

    first: int  # frame of the sample
    frames: int
    width: int  # pixels; even
    height: int
    x: int = 0  # left edge; even
    y: int = 0


CLIPS = {
    "cut": Clip(84, 16, 240, 160, 200, 100),  # the picture changes at its ninth frame
    "whole": Clip(50, 3, 640, 360),
    "small": Clip(60, 4, 112, 80, 220, 60),
}
EVERY_PAINT = (
    *(PaintSettings(*modes) for modes in product(OUTPUT_MODES, MASK_MODES, GEOMETRIES)),
    PaintSettings(blend_alpha=0.71, mask_mode="image-overlay", mask_cell_scale=1.6),
)
CASES = (
    Case("resized", "16 frames over a cut, the built-in model, default options", BUILT_IN, "cut", GazeSettings()),
    Case("tiled", "six tiles that stop one by one", BUILT_IN, "whole", GazeSettings(mode="tiled", task_loss_requirement=0.55)),
    Case(
        "batched",
        "the same in batches of four and two tiles, of which one waits for the other",
        BUILT_IN,
        "whole",
        GazeSettings(mode="tiled", task_loss_requirement=0.55, tile_batch=4),
    ),
    Case(
        "ragged",
        "seeded noise: stops in mid-block, and a budget that cuts a block",
        NOISE,
        "small",
        GazeSettings(max_gaze_tokens_each_frame=23, task_loss_requirement=-0.5),
    ),
    Case(
        "rolling",
        "the oldest frame is dropped from the caches",
        NOISE,
        "small",
        GazeSettings(window="rolling", clip_len=2, max_gaze_tokens_each_frame=12),
    ),
    Case("painted", "every output and mask mode and geometry", BUILT_IN, "small", GazeSettings(max_gaze_tokens_each_frame=20), EVERY_PAINT),
    Case(  # windows of two frames, so that the second frame's first block looks further back than the first one's
        "short",
        "a few blocks, for software adapters",
        BUILT_IN,
        "small",
        GazeSettings(max_gaze_tokens_each_frame=20, clip_len=2),
        short=True,
    ),
)
FRAMES_OF = {"batched": 2, "painted": 2, "short": 2, "ragged": 4, "rolling": 4}  # where it is not the whole clip


def frames_of(case: Case) -> int:
    """Frames of the clip that a case takes."""
    return FRAMES_OF.get(case.name, CLIPS[case.clip].frames)
