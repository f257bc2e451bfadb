"""Numbers: exact sums, averages over finite frames, moving averages that infinity never poisons."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_web.metrics import Ema, RunNumbers, Series, frame_numbers, psnr_db


def test_a_frames_numbers_add_up_its_rows() -> None:
    numbers = frame_numbers([1, 2, 3, 2, 2, 4, 10, 20, 30], width=5, height=3, whole=False)
    assert (numbers.mask_pixels, numbers.updated_pixels, numbers.squared_error) == (6, 8, 60)
    assert (numbers.mask_ratio, numbers.update_ratio) == (6 / 15, 8 / 15)
    assert numbers.psnr_db == pytest.approx(10 * math.log10(255**2 / (60 / 45)))


def test_a_whole_frame_counts_its_own_pixels_however_wide_the_rows_are() -> None:
    assert frame_numbers([0, 0, 64, 64, 0, 0], width=60, height=2, whole=True).update_ratio == 1


def test_no_error_is_infinite() -> None:
    assert psnr_db(0, 12) == math.inf


def test_a_moving_average_is_seeded_by_its_first_sample_and_ignores_infinity() -> None:
    ema = Ema()
    for sample in (math.inf, 10.0, math.nan, 20.0, math.inf):
        ema.add(sample)
    assert ema.value == pytest.approx(10 + 0.15 * 10)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.inf)))
def test_a_series_summarises_its_finite_samples(samples: list[float]) -> None:
    series = Series()
    for sample in samples:
        series.add(sample)
    finite = [sample for sample in samples if math.isfinite(sample)]
    summary = series.summary("x")
    if finite:
        assert summary["min_x"] == min(finite) and summary["max_x"] == max(finite)
        assert summary["average_x"] == pytest.approx(sum(finite) / len(finite))
    else:
        assert set(summary.values()) == ({"inf"} if samples else {None})


def test_a_run_counts_tokens_by_grid() -> None:
    run = RunNumbers((2, 4))
    for _ in range(3):
        run.add(frame_numbers([1, 1, 0], width=4, height=1, whole=False), [2, 5])
    summary = run.summary()
    assert summary["cell_grid_histogram"] == {"2x2": 6, "4x4": 15}
    assert (summary["positive_fixations"], summary["frames"], summary["identical_frames"]) == (21, 3, 3)
    assert summary["average_psnr_db"] == "inf" and summary["final_psnr_db_ema"] is None
