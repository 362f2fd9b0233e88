"""The plain reference itself, against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from mslitmus.spectra import similarity as ref

A = (np.array([100.0, 200.0]), np.array([1.0, 1.0]))
B = (np.array([100.0, 300.0]), np.array([1.0, 1.0]))


def test_half_shared_by_hand():
    x, y, mz = ref.align_binned(A, B, 0.01)
    assert mz.size == 3
    assert ref.cosine(x, y, mz) == pytest.approx(0.5)
    assert ref.jss(x, y) == pytest.approx(0.5)
    assert ref.entropy_similarity(x, y) == pytest.approx(0.5)


def test_jss_equals_scipy_and_unweighted_entropy():
    rng = np.random.default_rng(0)
    x, y = rng.random(20) * (rng.random(20) < 0.6), rng.random(20) * (rng.random(20) < 0.6)
    assert ref.jss(x, y) == pytest.approx(1 - jensenshannon(x, y, base=2) ** 2)
    assert ref.jss(x, y) == ref.entropy_similarity(x, y, weighted=False)


def test_weighting_by_hand_and_its_limit():
    assert ref.entropy_weight(np.array([1.0, 0.0])).tolist() == [1.0, 0.0]
    s = ref.spectral_entropy(np.array([0.9, 0.1]))
    assert ref.entropy_weight(np.array([0.9, 0.1])) == pytest.approx(
        [0.9 ** (0.25 + 0.25 * s), 0.1 ** (0.25 + 0.25 * s)]
    )
    flat = np.ones(30)  # S = ln 30 > 3: left alone
    assert ref.entropy_weight(flat) is flat


def test_nothing_is_similar_to_nothing():
    empty = (np.empty(0), np.empty(0))
    for x, y, mz in (ref.align_binned(empty, A, 1.0), ref.align_ppm(A, empty, 10), ref.align_ppm(empty, empty, 10)):
        assert ref.cosine(x, y, mz) == ref.jss(x, y) == ref.entropy_similarity(x, y) == 0.0


def test_greedy_takes_the_highest_product_first():
    a = (np.array([100.0, 100.0008]), np.array([0.2, 1.0]))
    b = (np.array([100.0004]), np.array([1.0]))
    x, y, _ = ref.align_ppm(a, b, 10)
    assert sorted(zip(x.tolist(), y.tolist(), strict=True)) == [(0.2, 0.0), (1.0, 1.0)]


def test_ties_go_to_the_nearer_then_the_lower():
    b = (np.array([100.0]), np.array([1.0]))
    nearer = ref.align_ppm((np.array([99.9999, 100.0002]), np.ones(2)), b, 10)
    assert nearer[2][0] == pytest.approx(99.99995)
    lower = ref.align_ppm((np.array([99.875, 100.125]), np.ones(2)), b, 2000)
    assert lower[2][0] == pytest.approx(99.9375)


def test_tolerance_is_symmetric():
    for a, b in ((100.0, 100.001), (500.0, 500.00501), (500.0, 500.00499)):
        assert ref.within(a, b, 10) == ref.within(b, a, 10)
    assert ref.within(500.0, 500.00499, 10)
    assert not ref.within(500.0, 500.00501, 10)


def test_mz_weight_lifts_heavy_peaks():
    x, y, mz = np.array([1.0, 1.0]), np.array([0.0, 1.0]), np.array([100.0, 300.0])
    assert ref.cosine(x, y, mz, 1.0, 1.0) == pytest.approx(3 / np.sqrt(10))
