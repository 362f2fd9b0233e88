"""Spectra merged over energies: nothing is lost, close peaks are one, empty spectra add nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.spectra.flat import flatten
from mslitmus.spectra.merge import merge_groups


def flat(*spectra):
    frame = pl.DataFrame(
        {
            "identifier": [str(i) for i in range(len(spectra))],
            "mzs": [list(s) for s in spectra],
            "intensities": [list(s.values()) for s in spectra],
        },
        schema_overrides={"mzs": pl.List(pl.Float64), "intensities": pl.List(pl.Float64)},
    )
    return flatten(frame)


def test_members_weigh_alike_and_close_peaks_are_joined():
    spectra = flat({100.0: 1.0, 200.0: 3.0}, {50.0: 7.0}, {100.0005: 20.0, 150.0: 20.0})
    merged = merge_groups(spectra, np.array([0, 1, 0]), ppm=10)
    assert np.diff(merged.offsets).tolist() == [3, 1]
    assert merged.mzs[0] == pytest.approx((100 * 0.25 + 100.0005 * 0.5) / 0.75)
    assert merged.intensities[:3].tolist() == pytest.approx([0.75, 0.5, 0.75])
    assert merged.intensities.sum() == pytest.approx(3)  # every member's 1


def test_an_empty_member_adds_nothing():
    spectra = flat({}, {100.0: 2.0}, {})
    merged = merge_groups(spectra, np.array([0, 0, 1]))
    assert np.diff(merged.offsets).tolist() == [1, 0]
    assert merged.intensities.tolist() == [1.0]


def test_peaks_further_apart_stay_two():
    merged = merge_groups(flat({100.0: 1.0}, {100.002: 1.0}), np.array([0, 0]), ppm=10)
    assert merged.mzs.tolist() == [100.0, 100.002]
