"""Audits of where a model fails: each with a planted case it must name and honest ones it must leave alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from mslitmus.audits import AUDITS, Absent, Evidence
from mslitmus.audits.condition_shift import labelled, shifts_of
from mslitmus.audits.evidence import CellKey
from mslitmus.audits.finding import RunTables
from mslitmus.audits.intensity_blindness import same_formulae
from mslitmus.audits.leads import parts_differ
from mslitmus.audits.similarity_curve import slopes
from mslitmus.audits.unseen_formulae import fragment_formulae, rates, unseen_shares
from mslitmus.data.splits import make_split
from mslitmus.schemas import COMPARISONS, SUMMARY

METRIC, SPLIT = "cosine@0.1Da", "molecule"
KINDS = {"net": "trained", "copy": "neighbour", "floor": "blind"}


def world(molecules: int = 150, spectra: int = 2, seed: int = 0, **columns) -> pl.DataFrame:
    """Test rows: an identifier, a molecule, a random similarity to train and share of unseen formulae."""
    rng = np.random.default_rng(seed)
    near, unseen = rng.uniform(0.2, 1.0, molecules), rng.uniform(0, 1, molecules)
    of = np.repeat(np.arange(molecules), spectra)
    return pl.DataFrame(
        {
            "identifier": [f"t{i:04}" for i in range(len(of))],
            "inchikey14": [f"M{m:03}" for m in of],
            "near": near[of],
            "unseen": unseen[of],
            "floor": np.clip(0.2 + rng.normal(0, 0.08, len(of)), 0, 1),
            "noise": rng.normal(0, 0.08, len(of)),
            **columns,
        }
    )


def tables(rows: pl.DataFrame, metric: str = METRIC, **record) -> RunTables:
    """Scores of the models that `rows` has columns of; validation means as on test."""
    models = [m for m in KINDS if m in rows.columns]
    scores = pl.concat(
        rows.select(
            pl.lit(SPLIT).alias("split"), pl.lit(m).alias("model"), pl.lit(0).alias("seed"),
            pl.lit("test").alias("fold"), "identifier", "inchikey14", pl.lit(True).alias("predicted"),
            pl.col(m).alias(metric),
        )
        for m in models
    )  # fmt: skip
    summary = [
        {"split": SPLIT, "model": m, "seed": None, "fold": "val", "metric": metric, "average": "molecule",
         "mean": rows[m].mean()}
        for m in models
    ]  # fmt: skip
    schema = {k: v for k, v in SUMMARY.items() if k in summary[0]}
    compared = pl.DataFrame(schema=dict(COMPARISONS))
    return RunTables(
        pl.DataFrame(summary, schema=schema), compared, {m: KINDS[m] for m in models},
        {SPLIT: {"method": SPLIT, **record}}, metric, scores,
    )  # fmt: skip


def evidence(
    rows: pl.DataFrame, folds=None, kept=None, task=None, predictions=None, metric=METRIC, **record
) -> Evidence:
    known = {("similarity", SPLIT): rows.select("inchikey14", similarity_to_train="near").unique()}
    run = tables(rows, metric, **record)
    return Evidence(
        run, task=task, cells={CellKey(SPLIT, m, 0): {} for m in run.kinds},
        read_folds=lambda split: folds, read_predictions=lambda key: predictions[key.model],
        _kept=known | (kept or {}),
    )  # fmt: skip


def severities(name: str, given: Evidence) -> list[str]:
    return [f.severity for f in AUDITS[name](given)]


# --- similarity curve -------------------------------------------------------------------------------------------------


def test_a_model_that_does_well_near_train_only_is_named():
    rows = world().with_columns(net=pl.col("floor") + 0.3 * (pl.col("near") > 0.6) + pl.col("noise"))
    (found,) = AUDITS["similarity-curve"](evidence(rows))
    assert found.severity == "warning"
    assert "net on split molecule does well only near train" in found.claim


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lead_", ["0.2 + 0 * near", "0.05 + 0.3 * near", "0 * near"])
def test_an_honest_model_is_not_said_to_copy(seed, lead_):
    rows = world(seed=seed)
    ahead = pl.Series(eval(lead_, {"near": rows["near"].to_numpy()}))
    rows = rows.with_columns(net=pl.col("floor") + ahead + pl.col("noise"), copy=pl.col("floor") + 0.5 * pl.col("near"))
    assert "warning" not in severities("similarity-curve", evidence(rows))


def test_too_few_molecules_far_from_train_give_no_verdict():
    rows = world().with_columns(near=0.5 + pl.col("near") / 2, net=pl.col("floor") + 0.2)
    assert severities("similarity-curve", evidence(rows)) == ["note"]


def test_slopes_are_those_of_the_line():
    x, of = np.repeat(np.linspace(0, 1, 50), 2), np.repeat(np.arange(50), 2)
    (found,) = slopes(x, (0.1 + 2 * x)[:, None], of)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))


def test_a_lead_that_is_the_same_everywhere_has_p_one_in_twenty():
    reached = 0
    for seed in range(200):
        rows = world(80, seed=seed)
        near = rows["near"].to_numpy() > 0.6
        reached += parts_differ(rows["noise"].to_numpy(), rows["inchikey14"].to_numpy(), near, ~near) < 0.05
    assert reached <= 19  # 10 expected; 19 is the 0.995 quantile of Binomial(200, 0.05)


# --- condition shift and worst group ----------------------------------------------------------------------------------


def records(rows: pl.DataFrame, instrument: list[str], seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return rows.select("identifier", "inchikey14").with_columns(
        instrument_type=pl.Series(instrument),
        adduct=pl.Series(rng.choice(["[M+H]+", "[M-H]-"], rows.height)),
        ion_mode=pl.lit("positive"),
        source=pl.lit("here"),
        collision_energy=pl.Series(rng.choice([15.0, 35.0], rows.height)).cast(pl.Float32),
        collision_energy_kind=pl.lit("eV"),
    )


def two_folds(rows: pl.DataFrame, share: float, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Train with one QTOF molecule in ten, test with `share`; a molecule keeps its instrument."""
    rng = np.random.default_rng(seed)
    train = world(400, seed=seed + 1).with_columns(pl.col("identifier", "inchikey14").str.replace("^", "x"))
    folds = {}
    for fold, frame, quota in (("train", train, 0.1), ("test", rows, share)):
        of = frame["inchikey14"].unique(maintain_order=True)
        kind = dict(zip(of, rng.random(len(of)) < quota, strict=True))
        folds[fold] = records(frame, ["QTOF" if kind[m] else "Orbitrap" for m in frame["inchikey14"]], seed)
    return folds


def test_a_shift_that_moves_a_score_is_named_and_a_designed_one_noted():
    rows = world()
    folds = two_folds(rows, 0.6)
    folds["train"] = folds["train"].with_columns(instrument_type=pl.lit("Orbitrap"))  # nobody trained on QTOF
    hard = 0.3 * (folds["test"]["instrument_type"] == "QTOF").cast(pl.Float64)
    rows = rows.with_columns(net=pl.col("floor") + 0.4 - hard)
    (found,) = AUDITS["condition-shift"](evidence(rows, folds))
    assert (found.severity, "instrument type" in found.claim, "net" in found.claim) == ("warning", True, True)
    assert severities("condition-shift", evidence(rows, folds, shifted="instrument_type")) == ["note"]
    level = rows.with_columns(net=pl.col("floor") + 0.4)
    assert severities("condition-shift", evidence(level, folds)) == ["note"]


def test_folds_of_one_kind_show_no_shift():
    said = [
        severities(
            "condition-shift", evidence(rows := world(seed=s).with_columns(net="floor"), two_folds(rows, 0.1, s))
        )
        for s in range(5)
    ]
    assert said == [["pass"]] * 5


def test_a_shift_has_v_and_distance():
    found = {s.condition: s for s in shifts_of(SPLIT, {k: labelled(v) for k, v in two_folds(world(), 1.0).items()})}
    assert found["instrument_type"].distance == pytest.approx(0.9, abs=0.05)
    assert found["instrument_type"].p == 0.001
    assert np.isnan(found["ion_mode"].p)  # one level
    assert found["adduct"].distance < 0.1


def test_a_group_worse_than_trivial_is_named():
    rows = world()
    folds = two_folds(rows, 0.4)
    weak = 0.35 * (folds["test"]["instrument_type"] == "QTOF").cast(pl.Float64)
    rows = rows.with_columns(net=pl.col("floor") + 0.25 - weak + pl.col("noise"))
    (found,) = AUDITS["worst-group"](evidence(rows, folds))
    assert (found.severity, "QTOF" in found.claim) == ("warning", True)


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_an_even_model_pass(seed):
    rows = world(seed=seed)
    even = rows.with_columns(net=pl.col("floor") + 0.05 + pl.col("noise"))
    assert severities("worst-group", evidence(even, two_folds(rows, 0.4, seed))) == ["pass"]


# --- energy -----------------------------------------------------------------------------------------------------------


def surviving(rows: pl.DataFrame, folds: dict[str, pl.DataFrame]) -> tuple[dict[str, pl.DataFrame], pl.Series]:
    """Folds with two peaks a spectrum, every other one of which is nearly all precursor; and who is fragmented."""
    out = {}
    for fold, frame in folds.items():
        whole = pl.Series([i % 2 == 0 for i in range(frame.height)])
        strong = pl.Series([[0.05, 1.0] if w else [1.0, 0.05] for w in whole], dtype=pl.List(pl.Float32))
        out[fold] = frame.with_columns(
            mzs=pl.Series([[100.0, 300.0]] * frame.height), intensities=strong, precursor_mz=pl.lit(300.0),
            smiles=pl.lit("C"), flags=pl.lit([], pl.List(pl.String)), ms_level=pl.lit(2),
        )  # fmt: skip
    out["val"] = out["train"].with_columns(pl.col("identifier").str.replace("^", "v"))
    return out, pl.Series([i % 2 == 1 for i in range(rows.height)])


def test_a_lead_on_precursors_alone_is_named():
    folds, fragmented = surviving(rows := world(), two_folds(world(), 0.1))
    rows = rows.with_columns(net=pl.col("floor") + 0.3 * (~fragmented).cast(pl.Float64) + pl.col("noise"))
    found = AUDITS["energy"](evidence(rows, folds))
    assert [f.severity for f in found] == ["warning", "pass"]
    assert "only on spectra that are mostly precursor" in found[0].claim
    assert "the protocol nguyen does not apply" in found[0].evidence  # no cut-off frees validation of precursors


def test_models_that_change_places_without_precursors_are_named():
    folds, fragmented = surviving(rows := world(), two_folds(world(), 0.1))
    flip = fragmented.cast(pl.Float64)
    rows = rows.with_columns(copy=pl.col("floor") + 0.1, net=pl.col("floor") + 0.3 - 0.3 * flip + pl.col("noise"))
    swapped = next(f for f in AUDITS["energy"](evidence(rows, folds)) if "change places" in f.claim)
    assert (swapped.severity, "net and copy" in swapped.evidence) == ("warning", True)
    fair = rows.with_columns(net=pl.col("floor") + 0.3 + pl.col("noise"))
    assert set(severities("energy", evidence(fair, folds))) == {"pass"}


# --- isomers ----------------------------------------------------------------------------------------------------------

SIZES = range(4, 29)
ISOMERS = {f"M{n:02}{k}": s for n in SIZES for k, s in (("a", "C" * n + "O"), ("b", "C" * (n - 1) + "OC"))}


def isomer_rows(net: float = 0.5) -> pl.DataFrame:
    return pl.DataFrame(
        {"identifier": [f"t{k}" for k in ISOMERS], "inchikey14": list(ISOMERS), "smiles": list(ISOMERS.values())}
    ).with_columns(near=0.5, floor=0.3, net=net)


def isomer_evidence(task, predictions, metric) -> Evidence:
    rows = isomer_rows()
    more = {"adduct": "[M+H]+", "instrument_type": "QTOF", "ion_mode": "positive", "source": "here",
            "collision_energy": 20.0, "collision_energy_kind": "eV", "precursor_mz": 500.0}  # fmt: skip
    test = rows.select("identifier", "inchikey14", "smiles").with_columns(pl.lit(v).alias(k) for k, v in more.items())
    peaks = [[100.0 + i % 2, 200.0] for i in range(test.height)]
    test = test.with_columns(mzs=pl.Series(peaks), intensities=pl.Series([[1.0, 0.5]] * test.height))
    folds = {"train": test, "val": test, "test": test}
    return evidence(rows, folds, task=task, predictions=dict.fromkeys(KINDS, predictions), metric=metric)


def test_rankings_by_formula_alone_cannot_tell_isomers_apart():
    pairs = [(a, b) for n in SIZES for a in (f"M{n:02}a", f"M{n:02}b") for b in (f"M{n:02}a", f"M{n:02}b")]
    pools = pl.DataFrame({"molecule": [a for a, _ in pairs], "candidate": [b for _, b in pairs]})
    formulae = pools["molecule"].str.slice(1, 2).cast(pl.Int64)
    pools = pools.with_columns(pl.Series("formula", [f"C{n}H{2 * n + 2}O" for n in formulae]))
    task = SimpleNamespace(name="retrieval", pools=SimpleNamespace(pools=pools))
    scored = pools.select(identifier="t" + pl.col("molecule"), candidate="candidate", score=pl.lit(1.0))
    blind = AUDITS["isomers"](isomer_evidence(task, scored, "hit@1"))
    assert [f.severity for f in blind] == ["warning"]
    assert "wins 0.500 of its duels" in blind[0].evidence
    honest = scored.with_columns(score=(pl.col("identifier") == "t" + pl.col("candidate")).cast(pl.Float64))
    assert severities("isomers", isomer_evidence(task, honest, "hit@1")) == ["pass"]
    skipping = honest.filter(pl.col("identifier") != "t" + pl.col("candidate"))  # the truth is never scored
    assert "wins 0.000" in AUDITS["isomers"](isomer_evidence(task, skipping, "hit@1"))[0].evidence


def test_fingerprints_nearer_to_the_truth_win():
    from mslitmus.chem.molecule import morgan

    bits = morgan(list(ISOMERS.values())).astype(np.float32)
    task, names = SimpleNamespace(name="fingerprint"), [f"t{k}" for k in ISOMERS]
    own = pl.DataFrame({"identifier": names, "fingerprint": pl.Series(bits.tolist(), dtype=pl.List(pl.Float32))})
    assert severities("isomers", isomer_evidence(task, own, "fp-cosine")) == ["pass"]
    both = (bits[0::2] + bits[1::2]).repeat(2, axis=0) / 2
    mixed = own.with_columns(fingerprint=pl.Series(np.ones_like(both).tolist(), dtype=pl.List(pl.Float32)))
    found = AUDITS["isomers"](isomer_evidence(task, mixed, "fp-cosine"))
    assert "wins 1.000" not in found[0].evidence
    lost = AUDITS["isomers"](isomer_evidence(task, own.head(0), "fp-cosine"))
    assert "wins 0.000" in lost[0].evidence  # a missing prediction is a lost duel


def test_a_spectrum_of_the_formula_wins_half_its_duels():
    from mslitmus.tasks.spectrum_prediction import SpectrumPrediction

    names = [f"t{k}" for k in ISOMERS]

    def predicted(peaks: list[list[float]]) -> pl.DataFrame:
        return pl.DataFrame({"identifier": names, "mzs": peaks, "intensities": [[1.0] * len(p) for p in peaks]})

    one = predicted([[200.0]] * len(names))
    assert severities("isomers", isomer_evidence(SpectrumPrediction(), one, METRIC)) == ["warning"]
    own = predicted([[100.0 + i % 2, 200.0] for i in range(len(names))])
    assert severities("isomers", isomer_evidence(SpectrumPrediction(), own, METRIC)) == ["pass"]


# --- fragment formulae ------------------------------------------------------------------------------------------------


def test_both_shares_of_unseen_formulae():
    named = pl.DataFrame(
        [("a", "C2H4"), ("a", "C3H6"), ("b", "C2H4"), ("b", "N2"), ("c", "N2"), ("d", "O2"), ("d", "C2H4")],
        schema=["identifier", "formula"], orient="row",
    )  # fmt: skip
    found = unseen_shares(named, pl.Series(["a"]), pl.Series(["b", "c", "d", "e"]))
    assert found.rows() == [("b", 2, 0.5), ("c", 1, 1.0), ("d", 2, 0.5)]


def test_formulae_of_fragments_leave_out_the_ion_isotopes_and_noise():
    frame = pl.DataFrame(
        {
            "identifier": ["x"], "formula": ["C6H12O6"], "adduct": ["[M+H]+"], "precursor_mz": [181.0707],
            "mzs": [[85.0284, 145.0495, 146.0529, 163.0601, 181.0707]],
            "intensities": [[0.005, 0.4, 0.02, 1.0, 0.9]],
        }
    )  # fmt: skip
    assert fragment_formulae(frame)["formula"].to_list() == ["C6H11O5", "C6H9O4"]


def test_rates_by_split_need_frame_and_split_alone(tiny):
    found = {name: rates(tiny, make_split(tiny, name, fractions=(0.6, 0.2, 0.2))) for name in ("random", "molecule")}
    assert found["random"]["per_spectrum"] < found["molecule"]["per_spectrum"] <= 1
    assert 0 < found["molecule"]["vocabulary"] <= 1
    assert found["molecule"]["molecules"] <= 8


def planted(rows: pl.DataFrame) -> Evidence:
    """Ten formulae a test spectrum, of which round(10 × unseen) are its molecule's own and nobody trained on."""
    made = [
        (identifier, f"new {molecule} {k}" if k < round(10 * share) else f"old {k}")
        for identifier, molecule, share in rows.select("identifier", "inchikey14", "unseen").iter_rows()
        for k in range(10)
    ] + [("train", f"old {k}") for k in range(10)]
    named = pl.DataFrame(made, schema=["identifier", "formula"], orient="row")
    test = rows.select("identifier", "inchikey14").with_columns(precursor_mz=pl.lit(300.0) + pl.Series(rows["noise"]))
    folds = {"train": pl.DataFrame({"identifier": ["train"]}), "test": test}
    return evidence(rows, folds, kept={"fragment formulae": named})


def test_a_model_of_known_formulae_is_named():
    rows = world().with_columns(net=pl.col("floor") + 0.3 * (pl.col("unseen") < 0.5) + pl.col("noise"))
    found = {f.severity: f for f in AUDITS["unseen-formulae"](planted(rows))}
    assert set(found) == {"note", "warning"}
    assert "where fragment formulae are unseen" in found["warning"].claim
    assert "train lacks" in found["note"].claim


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_falls_with_similarity_is_not_blamed_for_formulae(seed):
    """Unseen formulae and distance from train go together, and only the distance matters."""
    rows = world(250, seed=seed).with_columns(unseen=(1 - pl.col("near")).clip(0, 1) * 0.7 + pl.col("unseen") * 0.3)
    rows = rows.with_columns(net=pl.col("floor") + 0.5 * (pl.col("near") - 0.2) + pl.col("noise"))
    assert "warning" not in severities("unseen-formulae", planted(rows))


# --- intensity blindness ----------------------------------------------------------------------------------------------


def groups_of_two(blind: bool, groups: int = 30) -> Evidence:
    """Pairs of molecules with the same two peaks, in ratios of their own; fingerprints follow it or not."""
    rng = np.random.default_rng(0)
    rows = world(2 * groups, 1).with_columns(net=pl.col("floor"))
    ratio = rng.uniform(0.02, 1, rows.height)
    shift = np.arange(rows.height) // 2
    test = rows.select("identifier", "inchikey14").with_columns(
        mzs=pl.Series([[100.0 + s, 150.0 + s] for s in shift]),
        intensities=pl.Series([[1.0, r] if i % 2 else [r, 1.0] for i, r in enumerate(ratio)]),
    )
    named = pl.DataFrame({"identifier": rows["identifier"], "formula": [f"C{s}" for s in shift]})
    likely = np.zeros((rows.height, 2048), np.float32)
    likely[:, :20] = 1
    if not blind:
        for i, r in enumerate(ratio):
            likely[i, 20 + 20 * (i % 2) : 20 + 20 * (i % 2) + int(20 * (1 - r))] = 1
    predictions = pl.DataFrame(
        {"identifier": rows["identifier"], "fingerprint": pl.Series(likely.tolist(), dtype=pl.List(pl.Float32))}
    )
    bits = rng.random((rows.height, 2048)) < 0.02
    kept = {
        "fragment formulae": named,
        "fingerprints of molecules": (rows["inchikey14"].unique().sort(), bits.astype(np.uint8)),
    }
    return evidence(
        rows, {"test": test}, kept, SimpleNamespace(name="fingerprint"), dict.fromkeys(KINDS, predictions),
        "fp-tanimoto@0.5",
    )  # fmt: skip


def test_a_model_blind_to_intensities_is_named():
    (found,) = AUDITS["intensity-blindness"](groups_of_two(blind=True))
    assert found.severity == "warning"
    assert "share their answer with a molecule unlike theirs" in found.evidence
    assert severities("intensity-blindness", groups_of_two(blind=False)) == ["pass"]
    assert severities("intensity-blindness", groups_of_two(blind=True, groups=8)) == ["note"]


def test_groups_have_one_set_of_formulae_and_several_molecules():
    named = pl.DataFrame(
        {"identifier": ["a", "a", "b", "b", "c", "d", "e"], "formula": ["X", "Y", "Y", "X", "X", "Z", "Z"]}
    )
    rows = pl.DataFrame({"identifier": list("abcde"), "inchikey14": ["1", "2", "3", "4", "4"]})
    assert same_formulae(named, rows)["identifier"].to_list() == ["a", "b"]


def test_audits_of_measured_queries_are_not_run_on_predicted_spectra():
    rows = world().with_columns(net="floor")
    with pytest.raises(Absent, match="is about fingerprint and retrieval"):
        AUDITS["intensity-blindness"](evidence(rows, task=SimpleNamespace(name="spectrum-prediction")))
