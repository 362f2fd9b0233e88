"""Calibration, selection, pseudo-replication and claims on made-up runs: honest ones pass, planted ones are named."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from mslitmus.audits import AUDITS, Absent, Evidence
from mslitmus.audits.claim import Claim, Printed
from mslitmus.audits.claims import possible
from mslitmus.audits.confidence import META, Answers
from mslitmus.audits.evidence import CellKey
from mslitmus.audits.finding import Finding, RunTables
from mslitmus.audits.selection import _better_on_test, optimism
from mslitmus.errors import ConfigError
from mslitmus.metrics.comparisons import compare
from mslitmus.metrics.rates import (
    Isotonic,
    auc,
    aurc,
    calibration_error,
    conformal_limit,
    molecule_weights,
    resampled,
    risk_at,
)
from mslitmus.metrics.summary import summarise
from mslitmus.studies.declared import pretraining_list, read_claims

METRIC = "fp-tanimoto@0.5"
KEY = CellKey("molecule", "net", 0)


# --- numbers --------------------------------------------------------------------------------------------------------


def test_auc_is_the_chance_that_a_right_answer_is_more_confident():
    rng = np.random.default_rng(0)
    confidence, right = rng.integers(0, 5, 60).astype(float), rng.integers(0, 2, 60).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in confidence[right == 1] for b in confidence[right == 0]]
    assert auc(confidence, right, np.ones(60)) == pytest.approx(np.mean(pairs))
    assert np.isnan(auc(confidence, np.ones(60), np.ones(60)))
    assert auc(np.zeros(4), np.array([1.0, 0.5, 0.5, 0.0]), np.ones(4)) == 0.5


def test_abstaining_pays_where_confidence_tells():
    right = np.array([1.0, 1.0, 0.0, 0.0])
    good, flat, weight = np.array([4.0, 3.0, 2.0, 1.0]), np.zeros(4), np.ones(4)
    assert risk_at(good, right, weight, 0.5) == 0.0
    assert aurc(flat, right, weight) == pytest.approx(0.5)
    assert aurc(good, right, weight) < 0.5 < aurc(-good, right, weight)


def test_calibration_is_learned_and_measured():
    rng = np.random.default_rng(1)
    x = rng.random(4000)
    right = (rng.random(4000) < x**2).astype(float)
    curve = Isotonic(x[:2000], right[:2000], np.ones(2000))
    grid = curve(np.linspace(0, 1, 50))
    assert (np.diff(grid) >= 0).all()
    assert np.abs(grid - np.linspace(0, 1, 50) ** 2).mean() < 0.05
    assert calibration_error(curve(x[2000:]), right[2000:], np.ones(2000)) < 0.05
    assert calibration_error(np.full(2000, 0.9), right[2000:], np.ones(2000)) == pytest.approx(
        0.9 - right[2000:].mean()
    )


def test_conformal_limits_hold_for_molecules_not_spectra():
    """Molecules with many alike spectra: coverage over new molecules is at least the level, seed after seed."""
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        molecules = np.repeat(np.arange(60), rng.integers(1, 20, 60))
        gaps = rng.normal(size=60)[molecules] + 0.1 * rng.normal(size=len(molecules))
        limit = conformal_limit(gaps, molecule_weights(molecules)[1], 0.8)
        covered.append((np.hypot(1, 0.1) * rng.normal(size=500) <= limit).mean())
    assert 0.79 < np.mean(covered) < 0.83
    assert conformal_limit(np.zeros(3), np.ones(3), 0.9) == np.inf


def test_a_bootstrap_over_molecules_is_wider_than_over_spectra():
    rng = np.random.default_rng(2)
    molecules = np.repeat(np.arange(40), 15)
    level = rng.random(40)
    confidence, right = level[molecules], (rng.random(40) < level).astype(float)[molecules]
    _, low, high = resampled(auc, confidence, right, molecules)
    _, close, far = resampled(auc, confidence, right, np.arange(600))
    assert high - low > 2 * (far - close)


# --- a made-up run --------------------------------------------------------------------------------------------------


def scores(seed: int = 0, gain: float = 0.0, spectra: int = 6, molecules: int = 120, lift: float = 0.1) -> pl.DataFrame:
    """A net that leads a copy by `lift`, on test by `gain` more; spectra of a molecule are alike."""
    rng = np.random.default_rng(seed)
    parts = []
    for fold in ("val", "test"):
        key = np.repeat(np.arange(molecules), spectra)
        base = rng.normal(0.4, 0.12, molecules)[key] + rng.normal(0, 0.02, len(key))
        lead = lift + (gain if fold == "test" else 0.0) + rng.normal(0, 0.05, molecules)[key]
        for model, values in {"copy": base, "net": base + lead}.items():
            parts.append(
                pl.DataFrame(
                    {
                        "split": "molecule", "model": model, "seed": 0, "fold": fold,
                        "identifier": [f"{fold}{i}" for i in range(len(key))],
                        "inchikey14": [f"{fold}M{k:04d}" for k in key], "predicted": True,
                        METRIC: np.clip(values, 0.0, 1.0),
                    }
                )
            )  # fmt: skip
    return pl.concat(parts)


def evidence(table: pl.DataFrame, fit: dict | None = None, claims: tuple[Claim, ...] = (), **change) -> Evidence:
    metrics = [METRIC] if METRIC in table.columns else ["hit@1"]
    summary, compared = (f(table, metrics, resamples=200) for f in (summarise, compare))
    kinds = {"net": "trained", "copy": "neighbour"}
    tables = RunTables(summary, compared, kinds, {"molecule": {"method": "molecule"}}, metrics[0], table)
    cells = {CellKey("molecule", m, 0): {"kind": k, "fit": fit if m == "net" else None} for m, k in kinds.items()}
    task = SimpleNamespace(name="fingerprint")
    return Evidence(tables, task=task, cells=cells, claims=claims, **change)  # type: ignore[arg-type]


def said(name: str, given: Evidence) -> list[Finding]:
    return AUDITS[name](given)


def worst(findings: list[Finding]) -> str:
    return min((f.severity for f in findings), key=("fatal", "warning", "note", "pass").index)


# --- calibration ----------------------------------------------------------------------------------------------------


def answered(rng: np.random.Generator, shift: float = 0.0, weak: float = 0.0, binary: bool = True) -> Answers:
    """Confidence that is an honest probability, but for `shift`; QTOF spectra lie `weak` further from the truth."""
    molecules = np.repeat(np.arange(150), 4)
    truth = rng.beta(2, 3, 150)
    right = (rng.random(150) < truth).astype(float)[molecules]
    qtof = (np.arange(150) % 2 == 0)[molecules]
    meta = pl.DataFrame(
        {
            "adduct": ["[M+H]+"] * 600, "instrument_type": np.where(qtof, "QTOF", "Orbitrap"),
            "collision_energy": [20.0] * 600, "collision_energy_kind": ["eV"] * 600,
        }
    ).select(META)  # fmt: skip
    gap = rng.normal(size=150)[molecules] + weak * qtof
    confidence = np.clip(truth + shift, 0, 1)[molecules]
    return Answers(molecules, {"probability": confidence}, right, gap, meta, binary)


@cache
def plain() -> Evidence:
    return evidence(scores())


def calibrated(seed: int, **change: float) -> list[Finding]:
    rng = np.random.default_rng(seed)
    given = replace(plain(), _kept={})
    given.kept(("answers", KEY, "val"), lambda: answered(rng))
    given.kept(("answers", KEY, "test"), lambda: answered(rng, **change))
    return said("calibration", given)


def test_an_honest_confidence_passes():
    alarms = sum(worst(calibrated(seed)) != "pass" for seed in range(12))
    assert alarms <= 1


def test_a_confidence_that_promises_too_much_is_named():
    found = [f for f in calibrated(0, shift=0.3) if f.severity == "warning"]
    assert [f.claim for f in found] == [
        "the calibrated confidence of net promises more than it holds on split molecule"
    ]


def test_a_stratum_that_is_missed_is_named():
    found = [f for f in calibrated(1, weak=1.5) if f.severity == "warning"]
    assert len(found) == 1
    assert found[0].claim.endswith("instrument QTOF")


def test_a_confidence_that_says_nothing_is_a_note():
    rng = np.random.default_rng(3)
    given = evidence(scores())
    whole = answered(rng)
    mixed = {"probability": rng.permutation(150).astype(float)[whole.molecules]}
    idle = Answers(whole.molecules, mixed, whole.right, whole.gap, whole.meta, True)
    given.kept(("answers", KEY, "val"), lambda: None)
    given.kept(("answers", KEY, "test"), lambda: idle)
    [found] = said("calibration", given)
    assert found.severity == "note"
    assert "does not tell" in found.claim


def test_too_few_molecules_are_no_acquittal():
    few = hits(12, 2)
    with pytest.raises(Absent, match="needs the record of a training"):
        said("selection", evidence(few))


def test_calibration_needs_confidences():
    given = evidence(scores())
    object.__setattr__(given, "task", SimpleNamespace(name="spectrum-prediction"))
    with pytest.raises(Absent, match="retrieval and fingerprint"):
        said("calibration", given)


def ranked(decoys_like_reals: bool) -> Evidence:
    """A ranking of one truth, four real and four made-up candidates a query; the truth is in front half the time."""
    rng = np.random.default_rng(4)
    n = 400
    names = [f"M{i:03d}" for i in range(n)]
    rows = []
    for name in names:
        rows += [(name, name, "dataset")] + [(name, f"{name}r{j}", "list") for j in range(4)]
        rows += [(name, f"{name}d{j}", "decoy") for j in range(4)]
    pools = pl.DataFrame(rows, schema=["molecule", "candidate", "origin"], orient="row")
    real = rng.normal(0, 1, (n, 4))
    made_up = rng.normal(0 if decoys_like_reals else -4, 1, (n, 4))
    truth = rng.normal(2, 1, (n, 1))
    score = np.concatenate([truth, real, made_up], axis=1).ravel()
    predictions = pools.select(identifier="molecule", candidate="candidate").with_columns(score=pl.Series(score))
    asked = pl.DataFrame({"identifier": names, "inchikey14": names})
    given = evidence(scores(), read_folds=lambda split: {"test": asked}, read_predictions=lambda key: predictions)
    task = SimpleNamespace(name="retrieval", pools=SimpleNamespace(pools=pools))
    object.__setattr__(given, "task", task)
    return given


@pytest.mark.parametrize(("alike", "severity"), [(True, "pass"), (False, "note")])
def test_decoys_estimate_errors_only_where_they_are_like_the_wrong(alike, severity):
    from mslitmus.audits.decoys import decoy_findings

    found = {f.claim.split()[-1]: f for f in decoy_findings(ranked(alike), KEY)}
    assert found["decoys" if not alike else "estimate"].severity == severity


# --- selection ------------------------------------------------------------------------------------------------------


def trained_on(table: pl.DataFrame, fold: str, best: int = 3, curve=(0.1, 0.3, 0.41, 0.4, 0.4)) -> dict:
    means = table.filter((pl.col("model") == "net") & (pl.col("fold") == fold)).group_by("inchikey14")
    score = float(means.agg(pl.col(METRIC).mean())[METRIC].mean())  # type: ignore[arg-type]
    history = [{"epoch": i + 1, "score": s} for i, s in enumerate(curve)]
    history[int(np.argmax(curve))]["score"] = score
    return {"history": history, "best_epoch": best, "best_score": score}


def test_an_honest_choice_passes_over_seeds():
    alarms = 0
    for seed in range(20):
        table = scores(seed)
        found = said("selection", evidence(table, trained_on(table, "val")))
        alarms += worst([f for f in found if f.severity != "note"]) != "pass"
    assert alarms <= 1


def test_an_epoch_chosen_on_test_is_fatal():
    table = scores()
    found = said("selection", evidence(table, trained_on(table, "test")))
    assert [f.claim for f in found if f.severity == "fatal"] == [
        "the kept epoch of net on split molecule, seed 0 was chosen by its test score"
    ]


def test_an_epoch_that_is_not_the_best_and_one_that_stands_out():
    table = scores()
    fit = trained_on(table, "val", curve=(0.1, 0.3, 0.41, 0.4, 0.9))
    fit["history"][-1]["score"], fit["history"][2]["score"] = 0.9, fit["best_score"]
    claims = [f.claim for f in said("selection", evidence(table, fit))]
    assert any("is not the best one on validation" in claim for claim in claims)
    fit = trained_on(table, "val", best=1, curve=(0.9, 0.3, 0.3, 0.31, 0.3))
    assert any("stands out of its plateau" in f.claim for f in said("selection", evidence(table, fit)))


def test_a_gain_on_test_is_named():
    table = scores(gain=0.06)
    found = [f for f in said("selection", evidence(table, trained_on(table, "val"))) if f.severity == "warning"]
    assert [f.claim for f in found] == ["net leads by more on test than on validation, split molecule"]


def test_the_best_of_many_equal_controls_on_validation_is_no_gain_on_test():
    """Thirty controls worth the same: their best on validation is lucky there, and an honest lead looks like a gain."""
    alarms = {"both folds": 0, "validation": 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sides = {
            fold: pl.DataFrame({"inchikey14": [f"{fold}{k}" for k in range(150)], "net": rng.normal(0.6, 0.2, 150)})
            .with_columns(pl.Series(f"control {c}", rng.normal(0.4, 0.2, 150)) for c in range(30))
            for fold in ("val", "test")
        }  # fmt: skip
        kinds = {"net": "trained"} | {f"control {c}": "blind" for c in range(30)}
        tables = RunTables(pl.DataFrame(), pl.DataFrame(), kinds, {"molecule": {}}, METRIC)
        found = _better_on_test(tables, {("molecule", fold): side for fold, side in sides.items()})
        alarms["both folds"] += found[0].severity == "warning"
        best = max((c for c in sides["val"].columns if "control" in c), key=lambda c: sides["val"][c].mean())
        leads = [(side["net"] - side[best]).to_numpy() for side in sides.values()]
        error = np.sqrt(sum(lead.var(ddof=1) / 150 for lead in leads))
        alarms["validation"] += (leads[1].mean() - leads[0].mean()) / error > 1.645
    assert alarms["both folds"] <= 6
    assert alarms["validation"] > 12  # what the audit once did


def test_the_best_of_many_equal_rows_flatters_itself():
    """Rows that are worth the same: the mean of the best of k is E[max of k normals] standard errors too high."""
    rng = np.random.default_rng(5)
    table = rng.normal(0, 1, (400, 12))
    bias, error = optimism(table)
    assert error == pytest.approx(1 / 20, rel=0.2)
    assert 0.5 * error < bias < 2.2 * error
    assert optimism(table + np.arange(12))[0] < 0.2 * error


# --- pseudo-replication and claims ----------------------------------------------------------------------------------


def hits(n: int = 40, spectra: int = 5) -> pl.DataFrame:
    """All spectra of a molecule are hit or missed together: design effect 5. 22 of 40 molecules hit; the copy 18."""
    rows = []
    for model, right in {"net": 22, "copy": 18}.items():
        for i in range(n * spectra):
            molecule = i // spectra
            rows.append(("molecule", model, 0, "test", f"Q{i}", f"M{molecule:02d}", True, float(molecule < right)))
    names = ["split", "model", "seed", "fold", "identifier", "inchikey14", "predicted", "hit@1"]
    return pl.DataFrame(rows, schema=names, orient="row")


def claim(value: str = "0.550", **change) -> Claim:
    from mslitmus.studies.declared import printed

    ends = {k: printed(v, "test") for k, v in change.items() if k in ("low", "high")}
    rest = {k: v for k, v in change.items() if k not in ends}
    return Claim("test", "net", "hit@1", printed(value, "test"), split="molecule", **ends, **rest)


def test_what_spectra_are_worth():
    [found] = said("pseudo-replication", evidence(hits()))
    assert found.severity == "note"
    assert "worth 39 independent ones" in found.claim or "worth 40 independent ones" in found.claim
    [alone] = said("pseudo-replication", evidence(hits(200, 1)))
    assert alone.severity == "pass"


@pytest.mark.parametrize(
    ("change", "severity"),
    [
        ({"low": "0.48", "high": "0.62"}, "warning"),  # as 200 independent spectra would give
        ({"low": "0.40", "high": "0.70"}, "pass"),
        ({"better_than": "copy", "p": 0.001, "unit": "spectrum"}, "fatal"),
        ({"better_than": "copy", "p": 0.4, "unit": "threshold"}, "warning"),
        ({"better_than": "copy", "p": 0.4, "unit": "molecule"}, "pass"),
    ],
)
def test_claims_that_count_spectra(change, severity):
    table = hits()
    if change.get("p") == 0.001:  # one molecule apart: nothing over 40 molecules
        table = table.with_columns(
            pl.when((pl.col("model") == "copy") & (pl.col("inchikey14") < "M21"))
            .then(1.0)
            .otherwise(pl.col("hit@1"))
            .alias("hit@1")
        )
    found = said("pseudo-replication", evidence(table, claims=(claim(**change),)))
    assert found[-1].severity == severity, found[-1]


@pytest.mark.parametrize(
    ("right", "rival", "severity", "words"), [(10, 18, "fatal", "not better"), (23, 18, "warning", "does not hold")]
)
def test_a_claimed_lead_that_is_a_loss_or_just_misses(right, rival, severity, words):
    known = pl.when(pl.col("model") == "net").then(right).otherwise(rival)
    hit = pl.col("inchikey14").str.slice(1).cast(pl.Int64) < known
    table = hits().with_columns(hit.cast(pl.Float64).alias("hit@1"))
    found = said("pseudo-replication", evidence(table, claims=(claim(better_than="copy", p=0.001),)))
    assert found[-1].severity == severity, found[-1]
    assert words in found[-1].claim


def test_an_interval_over_molecules_may_be_narrower_than_one_over_unequal_spectra():
    rows = [("heavy", i, float(i % 2)) for i in range(1000)] + [("light", i, 0.5) for i in range(200)]
    names = [f"H{i // 100:02d}" if kind == "heavy" else f"L{i:03d}" for kind, i, _ in rows]
    table = pl.DataFrame(
        {"split": "molecule", "model": "net", "seed": 0, "fold": "test", "identifier": [f"{k}{i}" for k, i, _ in rows],
         "inchikey14": names, "predicted": True, "hit@1": [value for *_, value in rows]}
    )  # fmt: skip
    both = pl.concat([table, table.with_columns(model=pl.lit("copy"))])
    printed = claim("0.500", low="0.495", high="0.505", average="molecule", n=210, unit="molecule")
    assert worst(said("claims", evidence(both, claims=(printed,)))) == "pass"


@pytest.mark.parametrize(
    ("value", "change", "severity", "words"),
    [
        ("0.550", {}, "pass", "is reproduced"),
        ("55 %", {"n": 200}, "pass", "n is the number"),
        ("0.560", {}, "fatal", "is not reproduced"),
        ("0.550", {"n": 150}, "warning", "is not the number of queries"),
        ("0.55", {"n": 7}, "fatal", "no share of 7"),
        ("0.550", {"low": "0.545", "high": "0.555"}, "fatal", "too narrow for n = 200"),
        ("0.550", {"low": "0.481", "high": "0.619", "n": 200}, "pass", "is possible"),
        ("0.550", {"low": "0.60", "high": "0.70"}, "fatal", "outside its own interval"),
    ],
)
def test_claims_are_held_against_the_predictions(value, change, severity, words):
    found = said("claims", evidence(hits(), claims=(claim(value, **change),)))
    assert any(f.severity == severity and words in f.claim for f in found), found
    if severity == "pass":
        assert worst(found) == "pass"


def test_a_claim_without_test_scores_is_open_not_refuted():
    """Predictions of validation alone: nothing says what the test score is."""
    table = hits().with_columns(fold=pl.lit("val"))
    [found] = said("claims", evidence(table, claims=(claim("0.550", n=200, low="0.481", high="0.619"),)))
    assert (found.severity, "cannot be checked" in found.claim) == ("warning", True)
    assert "on validation it is 0.55" in found.evidence


def test_a_shrunken_denominator_is_named():
    table = hits().with_columns(predicted=(pl.col("inchikey14") < "M30") | (pl.col("model") == "copy"))
    table = table.with_columns(pl.col("hit@1") * pl.col("predicted"))
    found = said("claims", evidence(table, claims=(claim("0.733", n=150),)))
    assert [f.severity for f in found[:2]] == ["fatal", "fatal"]
    assert "over the answered queries alone" in found[0].claim
    assert "leaves out what was not answered" in found[1].claim


def test_grim():
    assert possible(Printed(0.55, 0.01), 20)
    assert not possible(Printed(0.54, 0.01), 20)
    assert all(possible(Printed(round(k / 37, 3), 0.001), 37) for k in range(38))


def test_claims_files_name_what_is_wrong(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(
        "claims:\n  - {model: net, metric: hit@1, value: 35.30 %, interval: [.3, .4], n: '1,591', p: '< 0.05'}\n"
    )
    [found] = read_claims(path, ["net"], ["molecule"])
    assert (found.value.value, found.value.unit) == (pytest.approx(0.353), pytest.approx(0.0001))
    assert (found.n, found.p, found.split, found.average) == (1591, 0.05, "molecule", "spectrum")
    for text, words in (
        ("- {model: nte, metric: hit@1, value: 1}", "did you mean 'net'"),
        ("- {model: net, metric: hit@1, valeu: 1}", "did you mean 'value'"),
        ("- {model: net, metric: hit@1}", "no value"),
        ("- {model: net, metric: hit@1, value: high}", "no number"),
        ("- {model: net, metric: hit@1, value: 1, interval: [2, 1]}", "below where it begins"),
        ("- {model: net, metric: hit@1, value: 1, n: 0.5}", "no count"),
        ("nothing", "no list of claims"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as error:
            read_claims(path, ["net"], ["molecule"])
        assert words in str(error.value)


def test_lists_of_pretraining_count_what_is_no_smiles(tmp_path):
    path = tmp_path / "list.smi"
    path.write_text("SMILES name\nCCO ethanol\nnonsense\nCC(=O)[O-] acetate\nCCO again\n")
    found, line = pretraining_list(f"{path}:net", ["net"])
    assert found.models == ("net",)
    assert set(found.molecules["inchikey14"]) == {"LFQSCWFLJHTTHZ", "QTBSBXVTEAMEQO"}
    assert "2 molecules" in line
    assert "1 lines are no SMILES, e.g. 'nonsense'" in line
    table = tmp_path / "list.tsv"
    table.write_text("name\tsmiles\nethanol\tCCO\n")
    assert pretraining_list(str(table), ["net"])[0].models is None
    with pytest.raises(ConfigError, match="net"):
        pretraining_list(f"{path}:nte", ["net"])
