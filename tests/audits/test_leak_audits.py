from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mslitmus import lineage
from mslitmus.audits import AUDITS
from mslitmus.audits.contrast import advantages, contrast, profiting
from mslitmus.audits.declared import _beyond_the_fold
from mslitmus.audits.evidence import CellKey, Evidence, Pretraining
from mslitmus.audits.finding import SEVERITIES, Finding, RunTables
from mslitmus.audits.leakage import promises
from mslitmus.lineage import Origin
from mslitmus.schemas import COMPARISONS, SPECTRA, SUMMARY, conform

METRIC = "cosine@0.1Da"
KINDS = {"net": "trained", "floor": "blind", "copy": "neighbour"}


@pytest.fixture
def folds(tiny: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Eight molecules to train on and twelve to test."""
    keys = tiny["inchikey14"].unique().sort()
    train = tiny.filter(pl.col("inchikey14").is_in(keys.head(8).implode()))
    test = tiny.filter(~pl.col("inchikey14").is_in(keys.head(8).implode()))
    return {"train": train, "val": train.head(1), "test": test}


def scores(test: pl.DataFrame, better: set[str], easy: set[str], by: float = 0.4, factor: float = 1.0) -> pl.DataFrame:
    """A model, a neighbour and a blind control. The model is better by so much on some molecules; some are easier for
    all that read, for the model by so many times more."""
    base = test.select("identifier", "inchikey14", fold=pl.lit("test"), split=pl.lit("molecule"), seed=pl.lit(0))
    base = base.with_columns(predicted=pl.lit(True))
    random = np.random.default_rng(0)

    def lift(molecules: set[str], size: float) -> pl.Expr:
        return pl.when(pl.col("inchikey14").is_in(sorted(molecules))).then(size).otherwise(0.0)

    values = {
        "net": 0.4 + lift(better, by) + lift(easy, 0.2 * factor), "copy": 0.3 + lift(easy, 0.2), "floor": pl.lit(0.2)
    }  # fmt: skip
    rows = [
        base.with_columns((value + pl.Series(random.normal(0, 0.02, test.height))).alias(METRIC), model=pl.lit(model))
        for model, value in values.items()
    ]
    return pl.concat(rows)


def board() -> pl.DataFrame:
    rows = [
        {"split": "molecule", "model": model, "fold": "val", "metric": METRIC, "average": "molecule", "mean": mean}
        for model, mean in (("net", 0.4), ("copy", 0.3), ("floor", 0.2))
    ]
    return conform(pl.DataFrame(rows).with_columns(pl.lit(None).alias(n) for n in SUMMARY if n not in rows[0]), SUMMARY)


def evidence(
    folds: Mapping[str, pl.DataFrame],
    better: set[str] = frozenset(),  # type: ignore[assignment]
    method: str = "molecule",
    options: Mapping[str, object] | None = None,
    pretraining: tuple[Pretraining, ...] = (),
    kinds: Mapping[str, str] = KINDS,
    **easy: object,
) -> Evidence:
    told = {"molecules": {"count": 0, "share": 0.0}}  # a record that says that all is well
    record = {"method": method, "form": None, "seed": 0, "dataset_hash": "d", "difficulty": {"overlap": told}}
    compared = pl.DataFrame(schema=dict(COMPARISONS))
    table = scores(folds["test"], better, **{"easy": set(), **easy}).filter(pl.col("model").is_in(list(kinds)))
    tables = RunTables(board(), compared, kinds, {"molecule": record}, METRIC, table)
    cells = {CellKey("molecule", model, 0): {"options": options or {}} for model in kinds}
    return Evidence(tables, cells=cells, read_folds=lambda split: folds, pretraining=pretraining)


def worst(findings: list[Finding]) -> Finding:
    return min(findings, key=lambda f: SEVERITIES.index(f.severity))


def keys(folds: Mapping[str, pl.DataFrame], n: int) -> list[str]:
    return folds["test"]["inchikey14"].unique().sort().head(n).to_list()


def of(frame: pl.DataFrame, molecules: list[str]) -> pl.DataFrame:
    return frame.filter(pl.col("inchikey14").is_in(molecules))


def test_honest_folds_raise_no_alarm(folds):
    for name in ("leakage", "spectrum-leakage", "labels"):
        found = AUDITS[name](evidence(folds))
        assert {f.severity for f in found} <= {"pass", "note"}, [f.claim for f in found]
        assert any(f.severity == "pass" for f in found)


def test_planted_molecules_are_fatal_whatever_the_record_says(folds):
    met = keys(folds, 6)
    copies = of(folds["test"], met).group_by("inchikey14").head(1).select(folds["train"].columns)
    leaking = {**folds, "train": pl.concat([folds["train"], copies])}
    seen = worst(AUDITS["leakage"](evidence(leaking, set(met))))
    assert (seen.severity, seen.affected) == ("fatal", 6)
    assert "net is better on them by +0.4" in seen.evidence
    assert "above copy" in seen.evidence
    assert worst(AUDITS["leakage"](evidence(leaking, method="random"))).severity == "warning"


@pytest.mark.parametrize(("n", "severity"), [(1, "warning"), (3, "fatal")])
def test_a_salt_is_the_same_molecule(folds, n, severity):
    met = keys(folds, n)
    salts = of(folds["test"], met).unique("inchikey14", keep="first", maintain_order=True).with_columns(
        (pl.col("smiles") + ".Cl").alias("smiles"),
        pl.format("SALT{}", pl.col("inchikey14").str.slice(4)).alias("inchikey14"),
        (pl.col("identifier") + "-salt").alias("identifier"),
    )  # fmt: skip
    leaking = {**folds, "train": pl.concat([folds["train"], salts.select(folds["train"].columns)])}
    seen = worst(AUDITS["leakage"](evidence(leaking)))
    assert (seen.severity, seen.affected) == (severity, n)
    assert "another InChIKey-14" in seen.claim
    assert worst(AUDITS["spectrum-leakage"](evidence(leaking))).severity == severity


@pytest.mark.parametrize(("better", "severity"), [(True, "fatal"), (False, "warning")])
def test_a_pretraining_list_with_test_molecules(folds, better, severity):
    met = keys(folds, 6)
    declared = Pretraining("zinc", of(folds["test"], met).select("smiles", "inchikey14").unique())
    found = AUDITS["leakage"](evidence(folds, set(met) if better else set(), pretraining=(declared,)))
    assert (worst(found).severity, worst(found).affected) == (severity, 6)
    assert "list zinc" in worst(found).evidence


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_listed_molecules_that_are_easy_for_everybody_convict_nobody(folds, factor):
    met = keys(folds, 6)
    declared = Pretraining("zinc", of(folds["test"], met).select("smiles", "inchikey14").unique())
    found = AUDITS["leakage"](evidence(folds, pretraining=(declared,), easy=set(met), factor=factor))
    assert (worst(found).severity, worst(found).affected) == ("warning", 6)
    assert "were met in pretraining by net" in worst(found).claim


def test_without_a_neighbour_easy_and_known_cannot_be_told_apart(folds):
    met = keys(folds, 6)
    declared = Pretraining("zinc", of(folds["test"], met).select("smiles", "inchikey14").unique())
    blind_alone = {"net": "trained", "floor": "blind"}
    found = worst(AUDITS["leakage"](evidence(folds, set(met), pretraining=(declared,), kinds=blind_alone)))
    assert found.severity == "warning"
    assert "without a neighbour beside it" in found.evidence


def test_a_trained_model_that_did_not_meet_the_list_is_a_reference(folds):
    met = keys(folds, 6)
    declared = Pretraining("zinc", of(folds["test"], met).select("smiles", "inchikey14").unique(), ("net",))
    two = {"net": "trained", "floor": "blind", "copy": "trained"}
    leaks = AUDITS["leakage"](evidence(folds, set(met), pretraining=(declared,), kinds=two))
    assert worst(leaks).severity == "fatal"
    easy = AUDITS["leakage"](evidence(folds, pretraining=(declared,), kinds=two, easy=set(met)))
    assert worst(easy).severity == "warning"


def test_a_list_of_easy_molecules_raises_no_alarm_over_seeds():
    """Listed molecules are easier; the model follows ease twice as steeply as the neighbour, which is noisy too."""
    alarms = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        ease = random.uniform(0, 1, 200)
        listed = random.random(200) < ease
        names = [f"{k:03}" for k in range(200)]
        values = {
            "net": 0.2 + 0.5 * ease + random.normal(0, 0.1, 200),
            "copy": 0.1 + 0.25 * ease + random.normal(0, 0.03, 200),
        }
        base = pl.DataFrame({"identifier": names, "inchikey14": names}).with_columns(
            fold=pl.lit("test"), split=pl.lit("molecule"), seed=pl.lit(0), predicted=pl.lit(True)
        )
        table = pl.concat([base.with_columns(pl.Series(METRIC, v), model=pl.lit(m)) for m, v in values.items()])
        kinds = {"net": "trained", "copy": "neighbour"}
        tables = RunTables(board(), pl.DataFrame(), kinds, {"molecule": {}}, METRIC, table)
        chosen = [name for name, there in zip(names, listed, strict=True) if there]
        gains = advantages(Evidence(tables), "molecule", chosen, ["net"])
        alarms += profiting(gains, 0.05) != ([], [])
    assert alarms <= 3


def test_a_pretraining_list_without_test_molecules(folds):
    declared = Pretraining("zinc", folds["train"].select("smiles", "inchikey14").unique(), ("net",))
    found = AUDITS["leakage"](evidence(folds, pretraining=(declared,)))
    assert worst(found).severity == "pass" or worst(found).severity == "note"
    assert any("no test molecule of split molecule is in the pretraining" in f.claim for f in found)


@pytest.mark.parametrize("where", ["encoder", "embedder"])
def test_weights_tell_what_they_have_seen(folds, tmp_path: Path, where):
    named = {"encoder": {"name": "gin", "weights": str(tmp_path)}, "embedder": {"pretrained": str(tmp_path)}}
    options = {where: named[where]}
    untold = worst(AUDITS["leakage"](evidence(folds, options=options)))
    assert (untold.severity, "nobody says" in untold.claim) == ("warning", True)
    pl.DataFrame({"inchikey14": keys(folds, 2)}).write_parquet(tmp_path / "molecules.parquet")
    held = {"data_hash": "d", "splits": [{"method": "molecule", "form": None, "seed": 0}]}
    (tmp_path / "pretraining.json").write_text(json.dumps({"asked": {"held_out": held}}))
    broken = worst(AUDITS["leakage"](evidence(folds, options=options)))
    assert (broken.severity, broken.affected) == ("fatal", 2)
    assert "left them out" in broken.claim


def test_weights_tell_what_stands_behind_them(folds, tmp_path: Path):
    """A generator whose simulated spectra come from a predictor that learned test molecules."""
    predictor, simulated, weights = (tmp_path / name for name in ("predictor", "simulated", "weights"))
    for folder in (predictor, simulated, weights):
        folder.mkdir()
    lineage.write(predictor, pl.Series(keys(folds, 3)), [])
    (simulated / "simulation.json").write_text("{}")
    lineage.write(simulated, None, [Origin("predictor", str(predictor))])
    lineage.write(weights, pl.Series(["ELSEWHERE"]), [Origin("simulation", str(simulated))])
    found = AUDITS["leakage"](evidence(folds, options={"weights": str(weights)}))
    leak = worst(found)
    assert (leak.severity, leak.affected) == ("warning", 3)
    assert f"simulation {simulated} ← predictor {predictor}" in leak.evidence
    assert any(f.severity == "pass" and f"weights {weights}, 1 molecules" in f.evidence for f in found)


def test_rows_that_rows_started_from_are_no_pretraining(folds, tmp_path: Path):
    """A row from a row from a row: all learned the same fold, which holds a test molecule here."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, parent in ((first, None), (second, first)):
        folder.mkdir()
        lineage.write(folder, pl.Series(keys(folds, 2)), [Origin("row", str(parent))] if parent else [])
    assert _beyond_the_fold(Origin("row", str(second))) == []
    assert [each.steps for each in _beyond_the_fold(Origin("weights", str(second)))] == [
        ("weights",),
        ("weights", "row"),
    ]


def test_promises_come_from_the_name_of_the_split_too():
    assert promises({"method": "molecule", "disjoint": []}) == ("inchikey14",)
    assert promises({"method": "instrument", "form": "new-molecules"}) == ("inchikey14",)
    assert promises({"method": "random", "form": None}) == ()


def test_a_broken_promise_of_formulae(folds):
    formula = folds["test"]["formula"][0]
    told = {**folds, "train": folds["train"].with_columns(formula=pl.lit(formula))}
    found = AUDITS["leakage"](evidence(told, method="formula"))
    assert any(f.severity == "fatal" and "share no formula" in f.claim for f in found)


def test_the_same_measurement_under_two_names(folds):
    stranger = folds["train"].row(0, named=True)
    copies = of(folds["test"], keys(folds, 3)).with_columns(
        inchikey14=pl.lit(stranger["inchikey14"]), smiles=pl.lit(stranger["smiles"]),
        identifier=pl.col("identifier") + "-again",
    )  # fmt: skip
    mislabelled = {**folds, "train": pl.concat([folds["train"], copies.select(folds["train"].columns)])}
    seen = worst(AUDITS["spectrum-leakage"](evidence(mislabelled)))
    assert seen.severity == "warning"
    assert "under another name" in seen.claim


def test_labels_that_contradict_each_other(folds):
    test = folds["test"]
    one, other = keys(folds, 2)
    stranger = of(test, [other]).row(0, named=True)
    copies = of(test, [one]).with_columns(
        inchikey14=pl.lit(stranger["inchikey14"]), smiles=pl.lit(stranger["smiles"]),
        formula=pl.lit(stranger["formula"]), identifier=pl.col("identifier") + "-again",
    )  # fmt: skip
    found = AUDITS["labels"](evidence({**folds, "test": pl.concat([test, copies])}))
    told = {f.claim.split(" in the test")[0].lstrip("0123456789, "): f.severity for f in found}
    assert told["molecules share a measurement with another molecule"] == "warning"
    assert told["precursors that do not fit molecule and adduct"] == "warning"


def test_repeats_and_wrong_keys(folds):
    test = folds["test"]
    again = pl.concat([test, test.with_columns(identifier=pl.col("identifier") + "-again")])
    assert "count more than once" in worst(AUDITS["labels"](evidence({**folds, "test": again}))).claim
    named = test.with_columns(inchikey14=pl.col("inchikey14").str.reverse())
    assert "not that of their SMILES" in worst(AUDITS["labels"](evidence({**folds, "test": named}))).claim


@pytest.mark.parametrize(("better", "severity"), [(True, "fatal"), (False, "warning")])
def test_identifiers_that_name_the_molecule(folds, better, severity):
    told = pl.col("inchikey14").is_in(keys(folds, 6))
    number = pl.int_range(pl.len()).cast(pl.String)
    name = pl.when(told).then(pl.col("inchikey14").str.slice(0, 5) + "-" + number).otherwise("identifier")
    named = {**folds, "test": folds["test"].with_columns(identifier=name)}
    seen = worst(AUDITS["labels"](evidence(named, set(keys(folds, 6)) if better else set())))
    assert (seen.severity, seen.affected) == (severity, 6)
    assert "identifiers name the molecule" in seen.claim


def test_identifiers_of_easy_molecules_convict_nobody(folds):
    six = keys(folds, 6)
    number = pl.int_range(pl.len()).cast(pl.String)
    name = pl.when(pl.col("inchikey14").is_in(six)).then(pl.col("inchikey14").str.slice(0, 5) + "-" + number)
    named = {**folds, "test": folds["test"].with_columns(identifier=name.otherwise("identifier"))}
    assert worst(AUDITS["labels"](evidence(named, easy=set(six)))).severity == "warning"


def test_keys_of_other_molecules_are_the_chance_level(folds):
    """Every name holds all keys: no more than by chance, however the rows stand."""
    every = " ".join(key[:5] for key in folds["test"]["inchikey14"].unique().sort())
    number = pl.int_range(pl.len()).cast(pl.String)
    named = {**folds, "test": folds["test"].with_columns(identifier=pl.lit(every) + " " + number)}
    assert not any("identifiers name" in f.claim for f in AUDITS["labels"](evidence(named)))


def test_a_contrast_holds_its_level_and_sees_a_difference():
    random = np.random.default_rng(0)
    names = [f"{k:03}" for k in range(60)]
    alarms = 0
    for _ in range(40):
        values = pl.DataFrame({"inchikey14": names, "value": random.normal(0, 1, 60)})
        found = contrast(values, set(names[:12]))
        assert found is not None
        alarms += found.p < 0.05
    assert alarms <= 6
    shifted = pl.DataFrame({"inchikey14": names, "value": np.r_[np.ones(12), np.zeros(48)] + random.normal(0, 0.3, 60)})
    seen = contrast(shifted, set(names[:12]))
    assert seen is not None
    assert seen.p < 0.001
    assert seen.low > 0.5
    assert contrast(shifted, set(names[:2])) is None


def test_spectra_of_the_schema_are_enough(folds):
    bare = {name: conform(part, SPECTRA) for name, part in folds.items()}
    assert AUDITS["spectrum-leakage"](evidence(bare))
