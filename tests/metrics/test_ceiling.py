"""The replicate ceiling: who counts as a replicate, and what comes out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.errors import SchemaError
from mslitmus.metrics import replicate_ceiling
from mslitmus.metrics.ceiling import replicate_pairs

NAMES = ["cosine@0.01Da", "entropy@10ppm:no-precursor", "predicted-entropy"]


def row(identifier, molecule="M0", source="A", energy=20.0, kind="eV", shift=0.0, **other):
    return {
        "identifier": identifier,
        "mzs": [100.0, 150.0, 200.0],
        "intensities": [1.0, 0.5 + shift, 0.2],
        "precursor_mz": 300.0,
        "inchikey14": molecule,
        "adduct": "[M+H]+",
        "instrument_type": "Orbitrap",
        "collision_energy": energy,
        "collision_energy_kind": kind,
        "source": source,
        "flags": [],
    } | other


def frame(rows):
    return pl.DataFrame(rows, schema_overrides={"flags": pl.List(pl.String), "collision_energy": pl.Float32})


def test_only_another_sources_spectrum_under_like_conditions_is_a_replicate():
    others = [
        row("same source", source="UFZ", shift=0.1),
        row("yes, same", source="B", shift=0.1),
        row("yes, within 20 %", source="B", energy=24.0, shift=0.1),
        row("too high", source="B", energy=26.0, shift=0.1),
        row("other kind", source="B", kind="NCE", shift=0.1),
        row("other adduct", source="B", adduct="[M+Na]+", shift=0.1),
        row("other instrument", source="B", instrument_type="QTOF", shift=0.1),
        row("other molecule", source="B", molecule="M1", shift=0.1),
        row("no energy", source="B", energy=None, shift=0.1),
        row("of a contributor that is the same laboratory", source="NaToxAq", shift=0.1),
        row("marked", source="B", flags=["duplicate"], shift=0.1),
        row("copied", source="B", intensities=[2.0, 1.0, 0.4]),
    ]
    pairs = replicate_pairs(frame([row("q", source="UFZ"), *others]), ["q"])
    assert pairs["replicate"].to_list() == ["yes, same", "yes, within 20 %"]
    assert replicate_pairs(frame([row("q", source="UFZ"), *others]), ["q"], max_replicates=1)[
        "replicate"
    ].to_list() == ["yes, same"]


def test_low_energies_may_differ_by_two_volts():
    rows = [
        row("q", energy=5.0),
        row("r", source="B", energy=7.0, shift=0.1),
        row("s", source="B", energy=7.5, shift=0.1),
    ]
    assert replicate_pairs(frame(rows), ["q"])["replicate"].to_list() == ["r"]


def test_values_are_means_over_replicates_queries_and_molecules():
    rows = []
    for k in range(20):
        rows.append(row(f"q{k}", molecule=f"M{k}"))
        rows.append(row(f"r{k}", molecule=f"M{k}", source="B", shift=0.5))
    rows.append(row("q0 again", molecule="M0", shift=0.4))
    table = frame(rows)
    got = replicate_ceiling(table, [f"q{k}" for k in range(20)] + ["q0 again"], NAMES)
    x, y = np.array([1.0, 0.5, 0.2]), np.array([1.0, 1.0, 0.2])
    cosine = got["cosine@0.01Da"]
    near = np.array([1.0, 0.9, 0.2])
    once, again = (z @ y / np.sqrt((z @ z) * (y @ y)) for z in (x, near))
    assert cosine.spectrum == pytest.approx((20 * once + again) / 21, abs=1e-6)
    assert cosine.molecule == pytest.approx((19 * once + (once + again) / 2) / 20, abs=1e-6)
    assert (cosine.n_queries, cosine.n_molecules) == (21, 20)
    assert got["predicted-entropy"] is None
    assert set(replicate_ceiling(table, [f"q{k}" for k in range(19)], NAMES).values()) == {None}


def test_none_without_any_replicate_and_clear_error():
    assert replicate_ceiling(frame([row("q")]), ["q"], NAMES) == dict.fromkeys(NAMES)
    with pytest.raises(SchemaError, match="source"):
        replicate_ceiling(frame([row("q")]).drop("source"), ["q"], NAMES)
