"""Golden values: another definition of a metric or a statistic gives another hash, the same one gives the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from mslitmus.errors import ConfigError
from mslitmus.metrics import comparisons, fingerprint, intervals, ranking, rare, spectrum, summary
from mslitmus.referee import golden as module
from mslitmus.referee.golden import TABLES, golden

SPECTRA = ["cosine@0.1Da", "entropy@0.01Da:no-precursor", "cosine@10ppm", "predicted-entropy"]
RANKINGS = ["hit@1", "hit@20", "mrr", "rank", "normalised-rank", "top-1%", "mces@1", "tanimoto@1"]
FINGERPRINTS = ["fp-tanimoto@0.5", "fp-tanimoto-soft", "fp-cosine"]
PLACES = RANKINGS[:6]


@pytest.fixture(scope="module")
def frozen() -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    return {names[0]: golden(names, "molecule") for names in (SPECTRA, RANKINGS, FINGERPRINTS)}


def changed(frozen, names):
    """Metrics whose values, and metrics whose statistics, are no longer those that were frozen."""
    then, now = frozen[names[0]], golden(names, "molecule")
    return tuple([name for name in names if then[k][name] != now[k][name]] for k in range(2))


@pytest.mark.parametrize("names", [SPECTRA, RANKINGS, FINGERPRINTS])
def test_the_same_code_gives_the_same_hashes(frozen, names):
    assert changed(frozen, names) == ([], [])
    assert golden(names[1:2], "molecule")[0] == {names[1]: frozen[names[0]][0][names[1]]}  # each on its own


def optimistic(pools):
    found = STAND(pools)
    return replace(found, tied=np.ones_like(found.tied))


def pessimistic(pools):
    found = STAND(pools)
    return replace(found, above=found.above + found.tied - 1, tied=np.ones_like(found.tied))


STAND = ranking.stand


@pytest.mark.parametrize(
    ("names", "where", "what", "other", "values"),
    [
        (RANKINGS, ranking, "stand", optimistic, PLACES),
        (RANKINGS, ranking, "stand", pessimistic, PLACES),
        (RANKINGS, ranking, "MCES_TIES", 2, ["mces@1"]),
        (FINGERPRINTS, fingerprint, "_ratio", lambda a, b: a * 0 + 1.0, FINGERPRINTS),
        (SPECTRA, spectrum, "drop_precursor", lambda spectra, _: spectra, ["entropy@0.01Da:no-precursor"]),
    ],
)
def test_another_metric_is_seen(frozen, monkeypatch, names, where, what, other, values):
    monkeypatch.setattr(where, what, other)
    assert changed(frozen, names) == (values, values)


@pytest.mark.parametrize(
    ("where", "what", "other"),
    [
        (intervals, "bca", lambda ratio, *_: (ratio.mean * 0, ratio.mean)),
        (comparisons, "bca", lambda ratio, *_: (ratio.mean * 0, ratio.mean)),
        (comparisons, "holm", lambda p: p),
        (comparisons, "effect_size", lambda d: d.mean(axis=0)),
        (comparisons, "sign_flip", lambda table, flips, seed, pairs: np.full(pairs[0].size, 0.5)),
        (intervals, "effective_n", lambda ratio: ratio.mean * 0 + 1),
        (summary, "LEAST_ROOM", 0.015),
        (summary, "LEAST_ROOM", 0.05),
    ],
)
def test_other_statistics_are_seen_and_the_values_stay(frozen, monkeypatch, where, what, other):
    monkeypatch.setattr(where, what, other)
    seen = FINGERPRINTS if what != "holm" else changed(frozen, FINGERPRINTS)[1]
    assert seen
    assert changed(frozen, FINGERPRINTS) == ([], seen)


def test_another_interval_of_rare_hits_is_seen(frozen, monkeypatch):
    monkeypatch.setattr(rare, "FEW", 0)
    assert "hit@1" in changed(frozen, RANKINGS)[1]


def test_the_unit_is_part_of_the_statistics_alone(frozen):
    values, told = golden(FINGERPRINTS, "mces")
    assert values == frozen[FINGERPRINTS[0]][0]
    assert not set(told.values()) & set(frozen[FINGERPRINTS[0]][1].values())


@pytest.mark.parametrize(
    ("family", "names"),
    [
        (
            "spectrum",
            [f"cosine@{how}" for how in ("0.1Da", "0.1Da<500", "0.1Da:no-precursor", "0.01Da", "1Da", "5ppm", "10ppm")],
        ),
        (
            "spectrum",
            [f"{measure}@0.1Da" for measure in ("cosine", "cosine-sqrt", "cosine-mz", "jss", "entropy")],
        ),
        ("ranking", [*RANKINGS, "hit@5", "hit@10"]),
        ("fingerprint", ["fp-tanimoto@0.4", "fp-tanimoto@0.6", *FINGERPRINTS]),
    ],
)
def test_the_tables_tell_neighbouring_definitions_apart(family, names):
    table = TABLES[family]()
    rows = [tuple(table.score(table.predictions[0], table.truth, names, "fail")[name]) for name in names]
    assert len(set(rows)) == len(names)


def test_predictions_are_partial_in_every_table():
    for family in TABLES:
        table = TABLES[family]()
        for given in table.predictions:
            assert 0 < given["identifier"].n_unique() < table.truth.height


def test_values_are_rounded_and_zero_has_no_sign():
    rows = pl.DataFrame({"a": [0.1 + 0.2, -0.0, None]})
    assert module._rounded(rows, ["a"]) == {"a": [0.3, 0.0, None]}
    assert str(module._rounded(rows, ["a"])["a"][1]) == "0.0"


def test_a_family_without_a_table_cannot_be_frozen(monkeypatch):
    monkeypatch.setattr(module, "family", lambda _: "smell")
    with pytest.raises(ConfigError, match=r"golden table\.smell"):
        golden(["hit@1"], "molecule")
