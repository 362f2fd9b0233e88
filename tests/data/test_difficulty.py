"""Difficulty: every figure against a plain reference, JSON throughout; and the protocol `nguyen`."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mslitmus.chem import molecule as chem
from mslitmus.data.difficulty import (
    BINS,
    PROPERTIES,
    MoleculeTable,
    difficulty,
    difficulty_table,
    energy_bin,
    ks_ratio,
    nearest_similarity,
    nearest_train_similarity,
)
from mslitmus.data.protocols import (
    PROTOCOLS,
    nguyen,
    precursor_survival,
    survival_curve,
    worst_disagreements,
)
from mslitmus.data.shift import cramers_v, ks_permutation, ks_weighted
from mslitmus.data.splits import Split, make_split
from mslitmus.errors import ConfigError, PredictionError, SplitError

SMILES = (
    "CCO", "CCCO", "CC(C)O", "CCN", "CC(=O)O", "OCC(O)CO", "c1ccccc1", "Cc1ccccc1", "CCc1ccccc1", "Oc1ccccc1",
    "Nc1ccccc1", "c1ccncc1", "Cc1ccncc1", "c1ccc2ccccc2c1", "Cc1ccc2ccccc2c1", "C1CCCCC1", "OC1CCCCC1", "c1ccoc1",
    "c1ccsc1", "C1CCNCC1", "OC1CCNCC1", "c1ccc2[nH]ccc2c1", "Cc1c[nH]c2ccccc12", "O=C1CCCCC1",
)  # fmt: skip


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """Each molecule at five energies: the higher the energy, the less of the precursor (m/z 200) is left."""
    rows = []
    for number, smiles in enumerate(SMILES):
        known = chem.identify(smiles)
        for energy in (10.0, 20.0, 30.0, 40.0, 60.0):
            survival = max(0.02, 1.0 - energy / 50 - 0.01 * (number % 5))
            rows.append(
                {
                    "identifier": f"m{number:02d}-{energy:g}",
                    "smiles": known.smiles,
                    "inchikey14": known.inchikey14,
                    "formula": known.formula,
                    "adduct": "[M+H]+" if number % 3 else "[M+Na]+",
                    "instrument_type": ("Orbitrap", "QTOF", "QqQ")[number % 3] if number % 7 else None,
                    "source": f"lab{number % 4}",
                    "collision_energy": energy,
                    "collision_energy_kind": "eV" if number != 4 else "unitless",
                    "ms_level": 2,
                    "flags": ["unit-resolution"] if number == 8 else [],
                    "precursor_mz": 200.0,
                    "mzs": [50.0, 80.0, 200.001],
                    "intensities": [0.5 * (1 - survival), 0.5 * (1 - survival), survival],
                }
            )
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def split(frame: pl.DataFrame) -> Split:
    return make_split(frame, "molecule", fractions=(0.5, 0.25, 0.25))


def finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(finite(v) for v in value.values())
    if isinstance(value, list):
        return all(finite(v) for v in value)
    return not isinstance(value, float) or math.isfinite(value)


def test_difficulty_is_json_and_complete(frame: pl.DataFrame, split: Split) -> None:
    found = difficulty(frame, split, permutations=50)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert finite(found)
    assert found["sizes"] == split.sizes
    assert set(found["overlap"]) == {"molecules", "scaffolds", "formulae", "val_molecules"}
    assert set(found["ks"]) == set(PROPERTIES)
    assert set(found["cramers_v"]) == {"instrument_type", "adduct", "energy"}
    assert found == difficulty(frame, split, permutations=50, molecules=MoleculeTable.of(frame))
    assert found == difficulty(frame.reverse(), split, permutations=50)


def test_overlap_is_counted_in_molecules_and_spectra(frame: pl.DataFrame, split: Split) -> None:
    assert difficulty(frame, split, permutations=5)["overlap"]["molecules"]["share"] == 0
    random = make_split(frame, "random")
    parts = random.apply(frame)
    shared = set(parts["test"]["inchikey14"]) & set(parts["train"]["inchikey14"])
    overlap = difficulty(frame, random, permutations=5)["overlap"]["molecules"]
    assert overlap["count"] == len(shared)
    assert overlap["of"] == parts["test"]["inchikey14"].n_unique()
    assert overlap["spectra"] == parts["test"].filter(pl.col("inchikey14").is_in(list(shared))).height
    assert overlap["share_spectra"] == overlap["spectra"] / parts["test"].height


def test_acyclic_molecules_have_no_scaffold_to_share(frame: pl.DataFrame) -> None:
    scaffold = difficulty(frame, make_split(frame, "scaffold"), permutations=5)["overlap"]["scaffolds"]
    assert scaffold["count"] == 0
    parts = make_split(frame, "random").apply(frame)
    cyclic = [s for s in parts["test"]["smiles"].unique() if chem.scaffold(s)]
    assert difficulty(frame, make_split(frame, "random"), permutations=5)["overlap"]["scaffolds"]["of"] == len(cyclic)


def test_nearest_train_agrees_with_the_reference(frame: pl.DataFrame, split: Split) -> None:
    parts = split.apply(frame)
    test, train = (sorted(parts[name]["smiles"].unique()) for name in ("test", "train"))
    expected = chem.tanimoto(chem.morgan(test), chem.morgan(train)).max(axis=1)
    found = difficulty(frame, split, permutations=5)["nearest_train"]
    assert found["n"] == found["of"] == len(test)
    assert found["mean"] == pytest.approx(expected.mean(), abs=1e-6)
    assert found["identical"] == int((expected == 1).sum())
    assert found["quantiles"]["0.5"] == pytest.approx(np.quantile(expected, 0.5), abs=1e-6)
    assert found["histogram"]["counts"] == np.histogram(expected, BINS, (0, 1))[0].tolist()
    assert len(found["histogram"]["edges"]) == BINS + 1
    table = nearest_train_similarity(parts["train"], parts["test"])
    assert table["similarity_to_train"].sort().to_list() == pytest.approx(sorted(expected), abs=1e-6)


def test_nearest_similarity_in_blocks_and_edges() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2, (n, 64)).astype(np.uint8) for n in (700, 300))
    a[0] = 0
    np.testing.assert_allclose(nearest_similarity(a, b), chem.tanimoto(a, b).max(axis=1), rtol=1e-6)
    assert nearest_similarity(a, b[:0]).tolist() == [0.0] * 700
    assert nearest_similarity(a[:0], b).shape == (0,)


def test_a_sample_says_so(frame: pl.DataFrame, split: Split) -> None:
    found = difficulty(frame, split, permutations=5, max_molecules=3)
    assert (found["nearest_train"]["n"], found["nearest_train"]["of"]) == (3, split.sizes["test"]["molecules"])
    assert found["ks"]["mass"]["n_train"] == 3
    with pytest.raises(SplitError, match="1 or more"):
        difficulty(frame, split, permutations=0)


values = st.lists(st.integers(0, 6).map(float), min_size=3, max_size=40)


@settings(max_examples=60, deadline=None)
@given(a=values, b=values)
def test_ks_agrees_with_scipy_ties_included(a: list[float], b: list[float]) -> None:
    statistic, p = ks_permutation(np.array(a), np.array(b), 20, 0)
    assert statistic == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic)
    assert 1 / 21 <= p <= 1


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_weighted_ks_agrees_with_repeated_values(rows: list[tuple[int, int, int]]) -> None:
    v, a, b = np.array(rows, float).T
    left, right = (np.repeat(v, counts.astype(int)) for counts in (a, b))
    if not len(left) or not len(right):
        assert ks_weighted(v, a, b) is None
        return
    expected = max(abs(np.mean(left <= x) - np.mean(right <= x)) for x in v)
    assert ks_weighted(v, a, b) == pytest.approx(expected)


def test_permutation_p_is_right_in_both_directions() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=80), rng.normal(size=120)
    _, p = ks_permutation(a, b, 2000, 0)
    assert p == pytest.approx(stats.ks_2samp(a, b, method="exact").pvalue, abs=0.04)
    assert ks_permutation(a, b + 2, 199, 0)[1] == 1 / 200
    assert ks_permutation(a, b, 100, 3) == ks_permutation(a, b, 100, 3)
    uniform = [ks_permutation(rng.normal(size=20), rng.normal(size=30), 99, i)[1] for i in range(100)]
    assert 0.35 < float(np.mean(uniform)) < 0.65


def test_cramers_v_agrees_with_scipy() -> None:
    table = np.array([[30.0, 5, 10], [4, 40, 12], [0, 3, 9], [0, 0, 0]])
    raw, corrected = cramers_v(table)
    assert raw == pytest.approx(stats.contingency.association(table[:3].astype(int), method="cramer"))
    assert corrected is not None
    assert corrected < raw
    assert cramers_v(np.eye(3) * 50)[0] == pytest.approx(1)
    assert cramers_v(np.outer([10.0, 20], [3, 4, 5]))[1] == 0
    assert cramers_v(np.array([[3.0, 4, 5]])) == (None, None)


def test_condition_shares_sum_to_one(frame: pl.DataFrame) -> None:
    found = difficulty(frame, make_split(frame, "adduct", form="new-molecules"), permutations=5)["cramers_v"]
    assert found["adduct"]["v"] == pytest.approx(1)
    for entry in found.values():
        for fold in ("train", "val", "test"):
            assert sum(share[fold] for share in entry["shares"].values()) == pytest.approx(1)
    assert "unknown" in found["instrument_type"]["shares"]


def test_energy_bins() -> None:
    table = pl.DataFrame(
        {
            "collision_energy": [5.0, 10.0, 15.0, 40.0, 60.0, 61.0, 35.0, 35.0, None],
            "collision_energy_kind": ["eV", "eV", "NCE", "ramp", "stepped", "eV", "resonant-%", None, None],
        }
    )
    assert energy_bin(table).to_list() == [
        "≤ 10 eV", "≤ 10 eV", "10–20 eV", "30–40 eV", "40–60 eV", "> 60 eV", "resonant-%", "unknown", "unknown",
    ]  # fmt: skip


def test_undefined_figures_are_none(frame: pl.DataFrame, split: Split) -> None:
    test = split.folds.filter(pl.col("fold") == "test")["identifier"]
    blank = pl.when(~pl.col("identifier").is_in(test.implode()))
    bare = frame.with_columns(blank.then(pl.col(name)).alias(name) for name in ("smiles", "inchikey14", "formula"))
    found = difficulty(bare.with_columns(adduct=pl.lit("[M+H]+")), split, permutations=5)
    json.dumps(found, allow_nan=False)
    assert found["overlap"]["molecules"]["share"] is None
    assert found["nearest_train"]["mean"] is None
    assert found["ks"]["mass"]["statistic"] is None
    assert found["cramers_v"]["adduct"]["v"] is None
    assert ks_ratio(found, found)["median_molecules"] is None


def test_side_by_side_and_ratio(frame: pl.DataFrame, split: Split) -> None:
    random = difficulty(frame, make_split(frame, "random"), permutations=5)
    mine = difficulty(frame, split, permutations=5)
    shifted = difficulty(frame, make_split(frame, "energy", form="same-molecules"), permutations=5)
    table = difficulty_table([random, mine, shifted, mine])
    assert table.columns == ["measure", "random", "molecule", "energy (same-molecules)", "molecule seed 0"]
    overlap = table.filter(pl.col("measure") == "molecule overlap, share of test molecules").row(0)
    assert overlap[1] > 0
    assert overlap[2:4] == (0.0, 1.0)
    assert table["molecule"].to_list() == table["molecule seed 0"].to_list()
    assert difficulty_table([]).columns == ["measure"]
    ratio = ks_ratio(mine, random)["properties"]["mass"]
    assert ratio["molecules"] == pytest.approx(mine["ks"]["mass"]["statistic"] / random["ks"]["mass"]["statistic"])
    assert ratio["n_test"] == split.sizes["test"]["molecules"]


def test_nguyen_fixes_the_cut_off_on_validation_alone(frame: pl.DataFrame, split: Split) -> None:
    made = nguyen(frame, split, min_spectra=5)
    assert made.energy_cutoff == 25.0
    parts = made.split.apply(frame)
    kept = pl.concat(parts.values())
    assert kept["collision_energy"].min() == 30
    assert set(kept["instrument_type"]) == {"Orbitrap", "QTOF"}
    assert set(kept["collision_energy_kind"]) == {"eV"}
    assert kept["flags"].list.len().max() == 0
    before = split.folds.height
    assert before - kept.height == sum(made.dropped.values())
    made.split.check(frame)
    test = split.folds.filter(pl.col("fold") != "val")["identifier"]
    whole = pl.when(pl.col("identifier").is_in(test.implode())).then(pl.lit([0.0, 0.0, 1.0])).otherwise("intensities")
    assert nguyen(frame.with_columns(intensities=whole), split, min_spectra=5).energy_cutoff == 25.0
    json.dumps(made.record(), allow_nan=False)


def test_nguyen_keeps_the_promise_of_same_molecules(frame: pl.DataFrame) -> None:
    train = frame.with_columns(
        source=pl.when((pl.col("collision_energy") == 40) & (pl.col("identifier") > "m10"))
        .then(pl.lit("lab9"))
        .otherwise("source")
    )
    split = make_split(train, "lab", form="same-molecules", test="lab9")
    nguyen(train, split, min_spectra=3).split.check(train)


def test_protocol_by_name_records_itself(frame: pl.DataFrame, split: Split) -> None:
    assert "nguyen" in PROTOCOLS
    made = PROTOCOLS["nguyen"](frame, split, min_spectra=5)
    record = made.record()
    assert record["energy_cutoff"] == 25.0
    assert record["required_models"] == ["nearest-molecule"]
    assert any("protocol nguyen" in note for note in made.split.notes)


def test_nguyen_refuses_what_it_cannot_do(frame: pl.DataFrame, split: Split) -> None:
    intact = frame.with_columns(intensities=pl.lit([0.0, 0.0, 1.0]))
    with pytest.raises(SplitError, match="no energy cut-off"):
        nguyen(intact, split, min_spectra=5)
    test = split.folds.filter(pl.col("fold") == "test")["identifier"]
    blank = pl.when(~pl.col("identifier").is_in(test.implode())).then("adduct").alias("adduct")
    with pytest.raises(SplitError, match="fold test is empty"):
        nguyen(frame.with_columns(blank), split, min_spectra=5)


def test_the_leaderboard_needs_the_look_up(frame: pl.DataFrame, split: Split) -> None:
    made = nguyen(frame, split, min_spectra=5)
    made.check_leaderboard(["precursor-only", "nearest-molecule"])
    with pytest.raises(ConfigError, match="nearest-molecule"):
        made.check_leaderboard(["precursor-only"])


def test_precursor_survival() -> None:
    rows = pl.DataFrame(
        {
            "precursor_mz": [200.0, 200.0, 1500.0, 200.0],
            "mzs": [[100.0, 200.009], [100.0, 200.02], [1500.014], [100.0]],
            "intensities": [[1.0, 3.0], [1.0, 3.0], [1.0], [0.0]],
        }
    )
    assert precursor_survival(rows).to_list() == [0.75, 0.0, 1.0, None]
    curve = survival_curve(rows.with_columns(collision_energy=pl.Series([10.0, 20.0, 30.0, 40.0])), 0.5)
    assert curve[0] == {"energy": 0.0, "n": 3, "fragmented": pytest.approx(1 / 3)}
    assert curve[-1] == {"energy": 60.0, "n": 0, "fragmented": None}


def test_the_sheet_holds_each_molecule_once() -> None:
    scores = pl.DataFrame(
        {
            "model": ["a"] * 5 + ["b"] * 2,
            "fold": ["test"] * 4 + ["val"] + ["test"] * 2,
            "identifier": ["1", "2", "3", "4", "5", "1", "3"],
            "inchikey14": ["X", "X", "Y", "Z", "V", "X", "Y"],
            "predicted": [True, True, True, False, True, True, True],
            "cosine@0.01Da": [0.3, 0.1, 0.2, 0.0, 0.0, 0.9, 0.8],
        }
    )
    sheet = worst_disagreements(scores, "cosine@0.01Da", 2)
    assert sheet.rows() == [
        ("a", 1, "2", "X", 0.1),
        ("a", 2, "3", "Y", 0.2),
        ("b", 1, "3", "Y", 0.8),
        ("b", 2, "1", "X", 0.9),
    ]
    assert worst_disagreements(scores.drop("model", "fold"), "cosine@0.01Da", 1)["identifier"].to_list() == ["5"]
    with pytest.raises(PredictionError, match="absent from the scores"):
        worst_disagreements(scores, "jss@1Da")
    with pytest.raises(PredictionError, match="no predicted"):
        worst_disagreements(scores, "cosine@0.01Da", fold="train")


def test_real_shaped_simulation(tiny: pl.DataFrame) -> None:
    made = make_split(tiny, "molecule")
    json.dumps(difficulty(tiny, made, permutations=20), allow_nan=False)
