"""The expected similarity on made data: it finds what is there, never falls where it should rise, and is honest."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.errors import ModelError
from mslitmus.models.predict.trust import FEATURES, Reference, Trust, features
from mslitmus.studies.trusted import judged


def made(seed: int, n: int = 3000, molecules: int = 400, noise: float = 0.1):
    """Similarities that rise with the first feature along a curve, with molecules that err together."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    molecule = rng.integers(molecules, size=n)
    shared = rng.normal(scale=noise / 2, size=molecules)[molecule]
    y = 1 / (1 + np.exp(-2 * x[:, 0] - x[:, 1])) + shared + rng.normal(scale=noise, size=n)
    return x, np.clip(y, 0, 1), [f"m{k}" for k in molecule]


@pytest.fixture(scope="module")
def fitted() -> Trust:
    return Trust.fit(*made(0))


def test_it_is_calibrated_on_rows_that_it_never_saw(fitted):
    x, y, _ = made(1)
    found = judged(fitted, x, y)
    assert found["r2"] > 0.8
    assert found["spearman"] > 0.9
    assert found["calibration_error"] < 0.03
    assert 0.75 < found["coverage"] < 0.88
    assert sum(tenth["rows"] for tenth in found["tenths"]) == len(y)


def test_it_never_falls_where_the_score_rises(fitted):
    x = np.zeros((200, 4))
    x[:, 0] = np.linspace(-3, 3, 200)
    expected, low, high = fitted.predict(x)
    assert (np.diff(expected) >= 0).all()
    assert expected[-1] - expected[0] > 0.5
    assert ((low <= expected) & (expected <= high) & (low >= 0) & (high <= 1)).all()


def test_isotonic_pools_violators():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    y = np.clip(0.5 + 0.3 * np.sin(6 * x[:, 0]) + rng.normal(scale=0.05, size=500), 0, 1)  # not monotone
    trust = Trust.fit(x, y, [str(k) for k in range(500)])
    assert (np.diff(trust.raised[1]) >= 0).all()


def test_beyond_what_was_seen_it_says_what_it_said_at_the_edge(fitted):
    far, edge = np.full((1, 4), 1e6), fitted.high[None, :]
    assert fitted.predict(far)[0] == fitted.predict(edge)[0]


def test_noise_alone_is_expected_to_be_its_mean():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2000, 5)), rng.uniform(size=2000)
    expected, low, high = Trust.fit(x, y, [str(k) for k in range(2000)]).predict(rng.normal(size=(500, 5)))
    assert abs(expected.mean() - 0.5) < 0.03
    assert expected.std() < 0.1
    assert 0.7 < (high - low).mean() < 0.9


def test_arrays_make_the_same_again(fitted):
    x = made(2)[0]
    again = Trust.of_arrays(fitted.arrays())
    assert all(np.array_equal(a, b) for a, b in zip(fitted.predict(x), again.predict(x), strict=True))


@pytest.mark.parametrize(("rows", "molecules"), [(20, 10), (200, 1)])
def test_too_little_is_refused(rows, molecules):
    x, y, names = made(0, rows, molecules)
    with pytest.raises(ModelError, match="too few"):
        Trust.fit(x, y, names)


def test_features_of_rows_do_not_depend_on_one_another(world):
    train, queries = world["train"], world["queries"]
    peaks = world["test"].select("identifier", "mzs", "intensities")
    reference = Reference.of(train)
    x = features(queries, peaks, reference)
    assert x.shape == (queries.height, len(FEATURES))
    assert np.isfinite(x).all()
    one = features(queries[3:4], peaks[3:4], reference)
    assert np.allclose(one, x[3:4])
    near = dict(zip(FEATURES, x.T, strict=True))["similarity to train"]
    own = features(train, train.select("identifier", "mzs", "intensities"), reference)
    assert (own[:, 0] == 1).all()
    assert (near < 1).any()


def test_a_predicted_spectrum_of_nothing_has_features(world):
    queries = world["queries"][:1]
    empty = pl.DataFrame(
        {"identifier": queries["identifier"], "mzs": [[]], "intensities": [[]]},
        schema_overrides={"mzs": pl.List(pl.Float64), "intensities": pl.List(pl.Float32)},
    )
    assert np.isfinite(features(queries, empty, Reference.of(world["train"]))).all()
