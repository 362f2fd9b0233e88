"""Peak transforms: what they keep, what they drop, what they add up to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mslitmus.errors import ConfigError
from mslitmus.spectra import peaks

PEAK = st.tuples(st.floats(10, 1200), st.floats(1e-3, 1e6))


def arrays(rows):
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def test_clean_drops_what_is_no_peak_and_sorts():
    mzs = np.array([200.0, np.nan, 100.0, 150.0, 160.0, -3.0])
    intensities = np.array([1.0, 1.0, 2.0, 0.0, np.inf, 1.0])
    got = peaks.clean(mzs, intensities)
    assert [a.tolist() for a in got] == [[100.0, 200.0], [2.0, 1.0]]
    assert mzs[0] == 200.0  # the argument is left alone


def test_normalise():
    mzs, intensities = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert peaks.normalise(mzs, intensities)[1].tolist() == [0.75, 1.0]
    assert peaks.normalise(mzs, intensities, "sum")[1].sum() == pytest.approx(1)
    assert np.linalg.norm(peaks.normalise(mzs, intensities, "norm")[1]) == pytest.approx(1)
    assert peaks.normalise(mzs, np.zeros(2))[1].tolist() == [0.0, 0.0]
    with pytest.raises(ConfigError, match="max"):
        peaks.normalise(mzs, intensities, "max")


@given(st.lists(PEAK, max_size=40), st.sampled_from([0.01, 0.1, 1.0]))
def test_bins_keep_the_intensity(rows, width):
    mzs, intensities = arrays(rows)
    centres, sums = peaks.bin_peaks(mzs, intensities, width)
    assert sums.sum() == pytest.approx(intensities.sum())
    assert (np.diff(centres) > width / 2).all()
    assert set(peaks.bin_index(mzs, width)) == set(peaks.bin_index(centres, width))


def test_bin_edges_and_maximum():
    assert peaks.bin_index(np.array([100.01, 100.0099999999, 100.0199, 100.02]), 0.01).tolist() == [
        10001,
        10001,
        10001,
        10002,
    ]
    assert peaks.bin_peaks(np.array([999.0, 1005.0, 1004.9999]), np.ones(3), 1.0, 1005.0)[0].tolist() == [999.5, 1004.5]


def test_precursor_region_has_both_ends():
    offsets = np.array([-1.0078, -0.51, -0.5, 0.0, 1.00335, 4.5, 4.51])
    assert peaks.precursor_region(300 + offsets, 300.0).tolist() == [False, False, True, True, True, True, False]
    mzs, intensities = peaks.remove_precursor(300 + offsets, np.arange(7.0), 300.0)
    assert intensities.tolist() == [0.0, 1.0, 6.0]
    assert mzs.size == 3


def test_neutral_losses_mirror_the_fragments():
    losses, intensities = peaks.neutral_losses(
        np.array([100.0, 281.99, 300.0, 301.0]), np.array([1.0, 2.0, 3.0, 4.0]), 300.0
    )
    assert losses.tolist() == pytest.approx([18.01, 200.0])
    assert intensities.tolist() == [2.0, 1.0]
