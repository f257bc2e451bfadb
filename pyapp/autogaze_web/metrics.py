"""Numbers of a frame and of a run (SEMANTICS §5), from integers that the paint graph counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

EMA_ALPHA = 0.15


@dataclass(frozen=True)
class FrameNumbers:
    """Of one painted frame."""

    mask_ratio: float  # pixels that cells cover / pixels
    update_ratio: float  # pixels of the output taken from this frame / pixels; 1 for keyframes and full-blend
    psnr_db: float  # of the output against this frame; inf where they are the same
    mask_pixels: int
    updated_pixels: int
    squared_error: int  # over red, green and blue


def frame_numbers(row_stats: Sequence[int], width: int, height: int, whole: bool) -> FrameNumbers:
    """row_stats as paint gives it, flat [3, height]; whole: every pixel counts as updated (keyframe, full-blend)."""
    pixels = width * height
    covered, updated, error = (sum(row_stats[part * height : (part + 1) * height]) for part in range(3))
    if whole:
        updated = pixels
    return FrameNumbers(covered / pixels, updated / pixels, psnr_db(error, 3 * pixels), covered, updated, error)


def psnr_db(squared_error: int, samples: int) -> float:
    """10 · log10(255² / mean squared error); inf for no error."""
    return 10 * math.log10(255**2 * samples / squared_error) if squared_error else math.inf


@dataclass
class Ema:
    """Exponential moving average, seeded by its first sample; a sample that is not finite leaves it as it is."""

    value: float | None = None

    def add(self, sample: float) -> None:
        if math.isfinite(sample):
            self.value = sample if self.value is None else self.value + EMA_ALPHA * (sample - self.value)


@dataclass
class Series:
    """Average, least and most of a number over the frames where it is finite, and its moving average."""

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    infinite: int = 0
    ema: Ema = field(default_factory=Ema)

    def add(self, sample: float) -> None:
        self.ema.add(sample)
        if not math.isfinite(sample):
            self.infinite += 1
            return
        self.count, self.total = self.count + 1, self.total + sample
        self.least, self.most = min(self.least, sample), max(self.most, sample)

    def summary(self, name: str) -> dict[str, float | str | None]:
        """average_, min_ and max_ of the finite samples; "inf" where every sample was infinite, None where there was none."""
        if self.count:
            return {f"average_{name}": self.total / self.count, f"min_{name}": self.least, f"max_{name}": self.most}
        empty = "inf" if self.infinite else None
        return {f"average_{name}": empty, f"min_{name}": empty, f"max_{name}": empty}


@dataclass
class RunNumbers:
    """Gathers a run's numbers frame by frame; its size does not grow with the video."""

    grids: Sequence[int]
    frames: int = 0
    update_ratio: Series = field(default_factory=Series)
    mask_ratio: Series = field(default_factory=Series)
    psnr_db: Series = field(default_factory=Series)
    histogram: dict[int, int] = field(init=False)  # valid tokens by grid

    def __post_init__(self) -> None:
        self.histogram = dict.fromkeys(self.grids, 0)

    def add(self, numbers: FrameNumbers, tokens_by_scale: Sequence[int]) -> None:
        self.frames += 1
        self.update_ratio.add(numbers.update_ratio)
        self.mask_ratio.add(numbers.mask_ratio)
        self.psnr_db.add(numbers.psnr_db)
        for grid, tokens in zip(self.grids, tokens_by_scale, strict=True):
            self.histogram[grid] += tokens

    def summary(self) -> dict[str, object]:
        """What metrics.json says of the frames."""
        mask = self.mask_ratio.summary("mask_ratio")
        return {
            "frames": self.frames,
            **self.update_ratio.summary("update_ratio"),
            "average_mask_ratio": mask["average_mask_ratio"],
            **self.psnr_db.summary("psnr_db"),
            "identical_frames": self.psnr_db.infinite,
            "final_update_ratio_ema": self.update_ratio.ema.value,
            "final_mask_ratio_ema": self.mask_ratio.ema.value,
            "final_psnr_db_ema": self.psnr_db.ema.value,
            "positive_fixations": sum(self.histogram.values()),
            "cell_grid_histogram": {f"{grid}x{grid}": tokens for grid, tokens in self.histogram.items()},
        }
