from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mslitmus.audits import AUDITS, shortcuts
from mslitmus.audits.evidence import CellKey, Evidence
from mslitmus.audits.finding import SEVERITIES, Finding, RunTables
from mslitmus.audits.spelling import spelling
from mslitmus.audits.tells import lay, places
from mslitmus.chem.molecule import inchikey14
from mslitmus.data.candidates import CandidateSet, MoleculeList, dataset_list, from_json
from mslitmus.data.molecules import MOLECULES
from mslitmus.schemas import CANDIDATES, COMPARISONS, SUMMARY
from mslitmus.tasks.retrieval import Retrieval

TRUTHS, LEARN, SIZE = 80, 60, 16


@pytest.fixture(scope="module")
def known() -> MoleculeList:
    smiles = [text for _, text in MOLECULES[::2]]
    frame = pl.DataFrame({"smiles": smiles, "inchikey14": [inchikey14(text) for text in smiles]})
    return dataset_list(frame, processes=1)


@pytest.fixture(scope="module")
def pools(known: MoleculeList) -> CandidateSet:
    """Truths and decoys drawn from one list, so that nothing tells them apart."""
    random = np.random.default_rng(0)
    frame = known.frame.sample(fraction=1.0, shuffle=True, seed=0)
    rows = []
    for k in range(TRUTHS + LEARN):
        others = random.choice(frame.height - 1, SIZE - 1, replace=False)
        chosen = frame[[k, *(others + (others >= k)).tolist()]]
        rows.append(chosen.select(pl.lit(frame["inchikey14"][k]).alias("molecule"), "inchikey14", "smiles", "formula"))
    table = pl.concat(rows).rename({"inchikey14": "candidate"}).with_columns(origin=pl.lit("dataset"))
    return CandidateSet.make("pools", "mass", {}, table)


def folds_of(pools: CandidateSet, known: MoleculeList) -> dict[str, pl.DataFrame]:
    """Three spectra a molecule; the spectra themselves play no part here."""
    keys = known.frame.sample(fraction=1.0, shuffle=True, seed=0)["inchikey14"].head(TRUTHS + LEARN)
    parts = {"test": keys.head(TRUTHS), "train": keys.tail(LEARN), "val": keys.tail(2)}
    out = {}
    for name, part in parts.items():
        rows = pl.DataFrame({"inchikey14": part}).join(known.frame, on="inchikey14", maintain_order="left")
        every = pl.concat([rows.with_columns(n=pl.lit(n)) for n in range(3)])
        out[name] = every.select(
            "inchikey14", "smiles", "formula", pl.format("{}-{}", "inchikey14", "n").alias("identifier"),
            precursor_mz=pl.col("exact_mass") + 1.00728, adduct=pl.lit("[M+H]+"),
        )  # fmt: skip
    return out


def evidence(pools: CandidateSet, known: MoleculeList, score=None, controls=()) -> Evidence:
    """`score(rows, random)` → scores of rows (identifier, molecule, candidate, smiles, formula, place)."""
    folds = folds_of(pools, known)
    kinds = {"net": "trained"} | {name: "blind" for name, _ in controls}
    empty = pl.DataFrame(schema=dict(SUMMARY)), pl.DataFrame(schema=dict(COMPARISONS))
    tables = RunTables(*empty, kinds, {"molecule": {"method": "molecule"}}, "hit@1")
    rows = pools.pools.with_columns(place=pl.int_range(pl.len()).over("molecule"))
    asked = folds["test"].select("identifier", molecule="inchikey14").join(rows, on="molecule", maintain_order="left")
    scorers = {"net": score, **dict(controls)}

    def read(key: CellKey) -> pl.DataFrame:
        values = scorers[key.model](asked, np.random.default_rng(1))
        return asked.select("identifier", "candidate", score=pl.Series(np.asarray(values, np.float64)))

    cells = {CellKey("molecule", name, 0): {} for name, scorer in scorers.items() if scorer is not None}
    task = Retrieval().with_pools(pools)
    return Evidence(tables, task, cells, lambda split: folds, read)


def worst(findings: list[Finding]) -> Finding:
    return min(findings, key=lambda f: SEVERITIES.index(f.severity))


def truth_first(pools: CandidateSet) -> CandidateSet:
    own = (pl.col("candidate") != pl.col("molecule")).cast(pl.Int8)
    return CandidateSet("first", "mass", {}, pools.pools.sort("molecule", own, maintain_order=True))


def test_pools_without_tells_pass(pools, known):
    found = AUDITS["candidates"](evidence(pools, known))
    assert {f.severity for f in found} == {"pass", "note"}, [(f.claim, f.evidence) for f in found]


def test_the_truth_at_the_front_is_fatal(pools, known):
    found = AUDITS["candidates"](evidence(truth_first(pools), known))
    told = [f.claim for f in found if f.severity == "fatal"]
    assert told == ["the truth's place in the pools of split molecule gives it away"]


def test_a_truth_in_its_own_spelling_is_fatal(pools, known):
    own = pl.col("candidate") == pl.col("molecule")
    spelled = pools.pools.with_columns(
        smiles=pl.when(own).then(pl.col("smiles")).otherwise(pl.format("[H][H].{}", "smiles").str.slice(7))
    )
    upper = spelled.with_columns(smiles=pl.when(own).then(pl.format("{}[H]", "smiles")).otherwise("smiles"))
    readable = upper.filter(pl.Series([_parses(text) for text in upper["smiles"]]))
    found = AUDITS["candidates"](evidence(CandidateSet("spelled", "mass", {}, readable), known))
    assert any(f.severity == "fatal" and "spelling" in f.claim for f in found), [f.evidence for f in found]


def _parses(text: str) -> bool:
    from mslitmus.chem.molecule import parse
    from mslitmus.errors import ChemistryError

    try:
        parse(text)
    except ChemistryError:
        return False
    return True


def test_decoys_shared_by_all_pools_are_fatal(pools, known):
    decoys = pools.pools.filter(pl.col("molecule") != pl.col("candidate")).unique("candidate", maintain_order=True)
    asked = folds_of(pools, known)
    truths = pl.concat([asked["test"], asked["train"]])["inchikey14"].unique()
    shared = decoys.filter(~pl.col("candidate").is_in(truths.implode())).head(SIZE - 1).drop("molecule")
    own = pools.pools.filter(pl.col("molecule") == pl.col("candidate"))
    every = own.select("molecule").join(shared, how="cross").select(list(CANDIDATES))
    found = AUDITS["candidates"](evidence(CandidateSet.make("few", "mass", {}, pl.concat([own, every])), known))
    assert any(f.severity == "fatal" and "recurrence" in f.claim for f in found)


def test_a_truth_that_is_absent_or_there_twice(pools, known):
    lost = CandidateSet("lost", "mass", {}, pools.pools.filter(pl.col("candidate") != pl.col("molecule")))
    assert worst(AUDITS["candidates"](evidence(lost, known))).severity == "warning"
    asked = CandidateSet("absent", "mass", {"truth": "absent"}, lost.pools)
    assert worst(AUDITS["candidates"](evidence(asked, known))).severity == "pass"
    again = pools.pools.filter(pl.col("candidate") == pl.col("molecule")).with_columns(pl.col("candidate") + "#2")
    twice = CandidateSet("twice", "mass", {}, pl.concat([pools.pools, again]).sort("molecule", maintain_order=True))
    assert any("once" in f.claim and f.severity == "warning" for f in AUDITS["candidates"](evidence(twice, known)))


def test_a_file_that_lists_the_truth_first_is_told_after_repair(pools, known, tmp_path: Path):
    first = truth_first(pools).pools.group_by("molecule", maintain_order=True).agg("smiles")["smiles"].to_list()
    path = tmp_path / "MassSpecGym_retrieval_candidates_mass.json"
    path.write_text(json.dumps({each[0]: each for each in first}))
    for mode, severity in (("repaired", "warning"), ("published", "fatal")):
        found = AUDITS["candidates"](evidence(from_json(path, mode=mode, processes=1), known))
        assert any(f.severity == severity and "lists the truth first" in f.claim for f in found)


def test_places_are_judged_by_chance(pools):
    assert places(lay(pools.pools), draws=1999).p > 0.01
    assert places(lay(truth_first(pools).pools), draws=1999).p < 0.01


def test_uniform_spellings_have_no_features(known):
    assert not spelling(known.frame["smiles"].head(50).to_list()).any()
    assert spelling(["OCC", "C[C@H](N)C(=O)O", "no smiles"])[:, 0].tolist() == [1.0, 1.0, 1.0]


def honest(rows, random, gain=1.5):
    return random.normal(0, 1, rows.height) + gain * (rows["candidate"] == rows["molecule"]).to_numpy()


def by_place(rows, random):
    return -rows["place"].to_numpy()


def by_candidate(rows, random):
    """One number a candidate, the same in every pool, and the truth of the test set by heart."""
    lots = {key: random.normal() for key in rows["candidate"].unique().sort()}
    return [lots[key] + 3 * (key == own) for key, own in rows.select("candidate", "molecule").iter_rows()]


def by_formula(rows, random):
    own = rows.filter(pl.col("candidate") == pl.col("molecule")).select("molecule", own="formula").unique()
    told = rows.join(own, on="molecule", how="left", maintain_order="left")
    return (told["formula"] == told["own"]).cast(pl.Float64).to_numpy() + random.normal(0, 0.1, rows.height)


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.5, 4.0])
def test_honest_rankers_are_not_accused(pools, known, gain):
    found = AUDITS["shortcuts"](evidence(pools, known, lambda rows, random: honest(rows, random, gain)))
    assert {f.severity for f in found} == {"pass"}, [(f.claim, f.evidence) for f in found]


def test_a_position_scorer_is_named(pools, known):
    found = AUDITS["shortcuts"](evidence(truth_first(pools), known, by_place))
    assert any(f.severity == "fatal" and "the place in the pool, not the spectrum" in f.claim for f in found)
    mixed = AUDITS["shortcuts"](evidence(truth_first(pools), known, lambda r, x: 0.3 * by_place(r, x) + honest(r, x)))
    assert any("the place in the pool, not the spectrum" in f.claim for f in mixed)


def test_a_scorer_of_one_place_is_named(pools, known):
    """Half of the pools begin with their truth, and the ranker knows the first place alone."""
    chosen = pools.molecules[::2]
    some = pools.pools.with_columns(place=pl.int_range(pl.len()).over("molecule"))
    own = (pl.col("candidate") == pl.col("molecule")) & pl.col("molecule").is_in(chosen)
    order = pl.when(own).then(-1).otherwise(pl.col("place"))
    half = CandidateSet(
        "half", "mass", {}, some.with_columns(order=order).sort("molecule", "order").select(list(CANDIDATES))
    )

    def first(rows, random):
        return (rows["place"] == 0).cast(pl.Float64).to_numpy() + random.normal(0, 0.1, rows.height)

    found = AUDITS["shortcuts"](evidence(half, known, first))
    assert any(f.severity == "fatal" and "the place in the pool" in f.claim for f in found), [f.evidence for f in found]
    fair = AUDITS["shortcuts"](evidence(half, known, honest))
    assert {f.severity for f in fair} == {"pass"}


def test_a_ranker_that_reads_no_spectrum_is_found(pools, known):
    found = AUDITS["shortcuts"](evidence(pools, known, by_candidate))
    assert any(f.severity == "fatal" and "all spectra of a molecule one ranking" in f.claim for f in found)


def test_a_ranker_that_copies_a_control_is_named(pools, known):
    def style(rows, random):
        weights = {text: len(text) % 7 for text in rows["smiles"].unique()}
        return [
            weights[text] + 2 * (a == b) for text, a, b in rows.select("smiles", "candidate", "molecule").iter_rows()
        ]

    def noisy(rows, random):
        return np.asarray(style(rows, random)) + random.normal(0, 0.2, rows.height)

    found = AUDITS["shortcuts"](evidence(pools, known, noisy, controls=[("smiles-style", style)]))
    assert any(f.severity == "fatal" and "the control smiles-style" in f.claim for f in found), [f.claim for f in found]


def test_a_formula_that_is_told_is_found(known):
    smiles = ["CCCO", "CC(C)O", "COCC", "CCCN", "CC(C)N", "CNCC", "CCCS", "CC(C)S", "CSCC"]
    homologues = [f"{'C' * k}{text}" for k in range(10) for text in smiles]
    frame = pl.DataFrame({"smiles": homologues, "inchikey14": [inchikey14(text) for text in homologues]})
    own = dataset_list(frame.unique("inchikey14", maintain_order=True), processes=1)
    table = own.frame.select(molecule="inchikey14").join(
        own.frame.select("smiles", "formula", candidate="inchikey14"), how="cross"
    )
    made = CandidateSet.make("isomers", "mass", {}, table.with_columns(origin=pl.lit("dataset")))
    found = AUDITS["shortcuts"](evidence(made, own, by_formula))
    assert any(f.severity == "fatal" and "knows the hidden formula" in f.claim for f in found)
    key, few = CellKey("molecule", "net", 0), np.arange(24)
    unsure = np.where(few % 5 < 3, 1.0, 0.0)  # 0.6 among isomers, of 24 molecules: who knows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortcuts, "by_formula", lambda model: (np.ones(100), unsure, np.arange(100), few))
        [told] = shortcuts._formula(key, None)
    assert told.severity == "warning"
    assert "is not shown to know more" in told.claim
