"""Fingerprint metrics against a plain loop; pairs of molecules; refusals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mslitmus.chem.molecule import morgan
from mslitmus.errors import ChemistryError, ConfigError, PredictionError, SchemaError
from mslitmus.metrics import fingerprint, molecule

NAMES = ["fp-tanimoto@0.5", "fp-tanimoto@0.9", "fp-tanimoto-soft", "fp-cosine"]
SMILES = ["CCO", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1", "CCO"]
BITS = morgan(SMILES)
TRUTH = pl.DataFrame({"identifier": list("abcd"), "inchikey14": list("xyzx"), "smiles": SMILES})


def frame(values, ids="abcd"):
    return pl.DataFrame(
        {"identifier": list(ids), "fingerprint": [list(map(float, row)) for row in values]},
        schema_overrides={"fingerprint": pl.List(pl.Float32)},
    )


def plain(bits, p):
    def ratio(x, y):
        return x / y if y else 0.0

    def tanimoto(q):
        return ratio(np.minimum(bits, q).sum(), np.maximum(bits, q).sum())

    cosine = ratio((bits * p).sum(), np.sqrt((bits**2).sum() * (p**2).sum()))
    return [tanimoto(p >= 0.5), tanimoto(p >= np.float32(0.9)), tanimoto(p), cosine]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_equals_the_plain_formulas(seed, share):
    rng = np.random.default_rng(seed)
    p = np.where(rng.random(BITS.shape) < share, rng.choice([0.5, 0.9, 1.0, 0.3], BITS.shape), 0).astype(np.float32)
    p = np.maximum(p, BITS * rng.choice(np.float32([0, 0.5, 1]), (4, 1)))
    result = fingerprint.score(frame(p), TRUTH, NAMES)
    assert result.columns == ["identifier", "predicted", *NAMES]
    for k in range(4):
        assert result.row(k)[2:] == pytest.approx(plain(BITS[k].astype(float), p[k].astype(float)), abs=1e-6)


def test_the_truth_scores_one_and_nothing_scores_zero():
    assert fingerprint.score(frame(BITS), TRUTH, NAMES).select(NAMES).to_numpy() == pytest.approx(1.0)
    empty = fingerprint.score(frame(np.zeros((4, 2048))), TRUTH, NAMES)
    assert empty["predicted"].all()
    assert (empty.select(NAMES).to_numpy() == 0).all()


def test_blocks_and_order_change_nothing(monkeypatch):
    p = np.random.default_rng(0).random(BITS.shape) * 0.6 + BITS * 0.4
    whole = fingerprint.score(frame(p), TRUTH, NAMES)
    monkeypatch.setattr(fingerprint, "BLOCK", 3)
    assert fingerprint.score(frame(p)[[2, 0, 3, 1]], TRUTH, NAMES).equals(whole)


def test_missing_raises_or_fails():
    some = frame(BITS[:2], "ab")
    with pytest.raises(PredictionError, match="2 rows without a prediction: 'c', 'd'"):
        fingerprint.score(some, TRUTH, NAMES)
    result = fingerprint.score(some, TRUTH, NAMES, missing="fail")
    assert result["predicted"].to_list() == [True, True, False, False]
    assert result["fp-cosine"].to_list() == pytest.approx([1, 1, 0, 0])
    null = frame(BITS).with_columns(fingerprint=pl.when(pl.col("identifier") != "a").then("fingerprint"))
    assert fingerprint.score(null, TRUTH, NAMES, missing="fail")["predicted"].to_list() == [False, True, True, True]
    assert fingerprint.score(null.head(0), TRUTH.head(0), NAMES).height == 0
    assert fingerprint.score(null.head(0), TRUTH, NAMES, missing="fail")["fp-cosine"].to_list() == [0, 0, 0, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
def test_values_that_are_no_probabilities_are_refused(value):
    p = BITS.astype(float)
    p[2, 7] = value
    with pytest.raises(PredictionError, match="1 rows with values outside 0 to 1, or NaN: 'c'"):
        fingerprint.score(frame(p), TRUTH, NAMES)


def test_other_refusals():
    short = frame([BITS[0], BITS[1][:-1], *BITS[2:]])
    with pytest.raises(PredictionError, match="without 2048 values: 'b'"):
        fingerprint.score(short, TRUTH, NAMES)
    holed = pl.DataFrame({"identifier": ["a"], "fingerprint": [[None, *BITS[0][1:].tolist()]]})
    with pytest.raises(PredictionError, match="values outside 0 to 1, or NaN: 'a'"):
        fingerprint.score(holed, TRUTH[:1], NAMES)
    with pytest.raises(PredictionError, match="more than once: 'a'"):
        fingerprint.score(frame(BITS, "aacd"), TRUTH, NAMES)
    with pytest.raises(PredictionError, match="not among the queries: 'z'"):
        fingerprint.score(frame(BITS, "abcz"), TRUTH, NAMES)
    with pytest.raises(PredictionError, match="columns absent: fingerprint"):
        fingerprint.score(frame(BITS).drop("fingerprint"), TRUTH, NAMES)
    with pytest.raises(SchemaError, match="parse"):
        fingerprint.score(frame(BITS), TRUTH.with_columns(smiles=pl.lit("nonsense")), NAMES)
    with pytest.raises(SchemaError, match="without smiles: 'a'"):
        fingerprint.score(frame(BITS), TRUTH.with_columns(smiles=pl.Series([None, *SMILES[1:]])), NAMES)
    with pytest.raises(ConfigError, match="family 'ranking'"):
        fingerprint.score(frame(BITS), TRUTH, ["hit@1"])


def test_tanimoto_of_pairs():
    value = molecule.tanimoto_pairs(["CCO"] * 5, ["CCO", "OCC", "CCN", None, "nonsense"])
    a, b = morgan(["CCO", "CCN"]).astype(bool)
    assert value.tolist() == pytest.approx([1, 1, (a & b).sum() / (a | b).sum(), 0, 0])
    assert molecule.tanimoto_pairs([], []).tolist() == []
    with pytest.raises(ChemistryError, match="nonsense"):
        molecule.tanimoto_pairs(["nonsense"], ["CCO"])
    with pytest.raises(ChemistryError, match="no SMILES"):
        molecule.tanimoto_pairs([None], ["CCO"])


def test_mces_of_pairs(monkeypatch):
    from mslitmus.chem import distance

    limits = []

    def many(pairs, threshold, time_limit=10.0, cache=None):
        limits.append(time_limit)
        known = {"CCN": (4.0, True, 4.0), "CC": (31.0, False, 40.0), "CCC": (9.0, False, 12.0)}
        rows = [(a, b, *known[b]) for a, b in pairs.iter_rows()]
        return pl.DataFrame(rows, schema=["smiles_a", "smiles_b", "mces", "exact", "upper"], orient="row")

    monkeypatch.setattr(distance, "mces_many", many)
    predicted = ["CCN", "CC", "CCC", None, "nonsense", "CCN"]
    headline = molecule.mces_pairs(["CCO"] * 6, predicted)
    assert headline.value.tolist() == [4, 15, 12, 15, 15, 4]  # the open pair at its upper bound
    assert headline.exact.tolist() == [True, True, False, True, True, True]  # beyond 15 the headline is decided
    assert limits == [10, molecule.PATIENCE]
    published = molecule.mces_pairs(["CCO"] * 6, predicted, published=True)
    assert published.value.tolist() == [4, 31, 12, 100, 100, 4]
    assert published.exact.tolist() == [True, False, False, True, True, True]


def test_mces_of_real_pairs():
    found = molecule.mces_pairs(["CCO", "CCO", "c1ccccc1"], ["OCC", "CCN", None])
    assert found.value.tolist() == [0, 2, 15]  # C–O and C–N: one bond lost on either side
    assert found.exact.all()
