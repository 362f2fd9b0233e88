"""The blind controls: each against its documented rule, and what each of them catches."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import optimize, special

from mslitmus.chem import molecule
from mslitmus.chem.formula import parse_adduct
from mslitmus.data.candidates import likeness
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import MODELS
from mslitmus.models.protocol import FitContext


def hit_at_1(predictions: pl.DataFrame, truth: pl.DataFrame) -> float:
    """Share of queries whose truth ranks first, ties shared."""
    rows = predictions.join(truth.select("identifier", "inchikey14"), on="identifier")
    own = rows.filter(pl.col("candidate") == pl.col("inchikey14")).select("identifier", own="score")
    rows = rows.join(own, on="identifier").group_by("identifier")
    above, tied = (pl.col("score") > pl.col("own")).sum(), (pl.col("score") == pl.col("own")).sum()
    return float(rows.agg(hit=pl.when(above == 0).then(1 / tied).otherwise(0.0))["hit"].mean())


def fitted(name, ranking, folder, score=hit_at_1, **options):
    model = MODELS[name](**options)
    report = model.fit(ranking["train"], ranking["val"], FitContext(folder, score=score))
    return model, report


def scores_of(predictions, identifier):
    return dict(predictions.filter(pl.col("identifier") == identifier).select("candidate", "score").iter_rows())


def test_random_ranking_is_a_function_of_seed_query_and_candidate(ranking, tmp_path):
    queries = ranking["queries"]
    first = MODELS["random-ranking"]().predict(queries)
    alone = MODELS["random-ranking"]().predict(queries[3:4])
    assert alone.equals(first.filter(pl.col("identifier") == queries["identifier"][3]))
    other = MODELS["random-ranking"](seed=1).predict(queries)
    assert abs(np.corrcoef(first["score"], other["score"])[0, 1]) < 0.3
    assert first["score"].n_unique() == first.height
    many = pl.DataFrame({"identifier": [f"q{k}" for k in range(400)]}).with_columns(
        candidates=pl.lit([f"c{k}" for k in range(50)]), candidate_smiles=pl.lit(["C"] * 50)
    )
    values = MODELS["random-ranking"]().predict(many)["score"].to_numpy()
    assert np.histogram(values, 10, (0, 1))[0] == pytest.approx(2000, rel=0.1)
    by_query = values.reshape(400, 50)
    assert np.abs(np.corrcoef(by_query[:20]) - np.eye(20)).max() < 0.6


def test_constant_and_position(ranking):
    constant = MODELS["constant-ranking"]().predict(ranking["queries"])
    assert constant["score"].unique().to_list() == [0.0]
    position = MODELS["first-candidate"]().predict(ranking["queries"])
    best = position.group_by("identifier").agg(pl.col("candidate").sort_by("score").last())
    shown = ranking["queries"].select("identifier", first=pl.col("candidates").list.first())
    assert best.join(shown, on="identifier").select((pl.col("candidate") == pl.col("first")).all()).item()


def test_queries_without_a_pool_get_no_rows(ranking, tmp_path):
    none = pl.lit(None, dtype=pl.List(pl.String))
    bare = ranking["queries"].with_columns(candidates=none, candidate_smiles=none)
    for name in ("random-ranking", "constant-ranking", "first-candidate", "formula-only", "candidate-popularity",
                 "structure-only"):  # fmt: skip
        model, _ = fitted(name, ranking, tmp_path)
        assert model.predict(bare).height == 0


@pytest.mark.parametrize("count", ["train-pools", "records", "asked-pools"])
def test_popularity_counts_what_it_says(count, ranking, tmp_path):
    model, report = fitted("candidate-popularity", ranking, tmp_path, count=count, direction="more")
    found = model.predict(ranking["queries"])
    train = ranking["train"]
    once = {
        "records": [[key] for key in train["inchikey14"]],
        "train-pools": train.unique("inchikey14")["candidates"].to_list(),
        "asked-pools": [list(pool) for pool in {tuple(p) for p in ranking["queries"]["candidates"].to_list()}],
    }
    seen = [member for pool in once[count] for member in pool]
    assert found["score"].to_list() == [float(seen.count(c)) for c in found["candidate"]]
    assert report.notes["direction"] == "more"


def test_popularity_learns_its_direction_on_validation(ranking, tmp_path):
    """In a split by molecule the truth is never a training molecule: to prefer unknown candidates is a leak."""
    model, report = fitted("candidate-popularity", ranking, tmp_path, count="records")
    assert report.notes["direction"] == "less"
    assert report.notes["validation_less"] > report.notes["validation_more"]
    found = model.predict(ranking["queries"])
    assert hit_at_1(found, ranking["truth"]) > 1 / 8


def test_formula_only_is_the_distance_to_the_precursor(ranking, tmp_path):
    found = MODELS["formula-only"]().predict(ranking["queries"])
    query = ranking["queries"].row(0, named=True)
    for key, smiles in zip(query["candidates"], query["candidate_smiles"], strict=True):
        mz = parse_adduct(query["adduct"]).mz(molecule.identify(smiles).exact_mass)
        assert scores_of(found, query["identifier"])[key] == pytest.approx(-abs(mz - query["precursor_mz"]), abs=2e-6)
    assert hit_at_1(found, ranking["truth"]) > 0.9
    same = ranking["queries"][:1].with_columns(
        candidate_smiles=pl.lit(["CCO", "COC", "CCC"]), candidates=pl.lit(["A", "B", "C"])
    )
    scores = scores_of(MODELS["formula-only"]().predict(same), query["identifier"])
    assert scores["A"] == scores["B"] != scores["C"]
    for adduct in (None, "nonsense"):
        tied = MODELS["formula-only"]().predict(ranking["queries"].with_columns(adduct=pl.lit(adduct, pl.String)))
        assert tied["score"].n_unique() == 1


def planted(world, tell, molecules=60):
    """Molecules with pools of random chains; `tell(rng)` makes the truth, so that it is given away."""
    rng = np.random.default_rng(0)

    def chain():
        return "C" + "".join(rng.choice(list("CNO"), 7))

    rows = []
    for k in range(molecules):
        pool = sorted({chain() for _ in range(9)} | {tell(rng)})
        truth = next(s for s in pool if s.startswith("F"))
        rows.append({"identifier": f"p{k}", "inchikey14": truth + str(k), "smiles": truth, "candidate_smiles": pool,
                     "candidates": [s + str(k) for s in pool]})  # fmt: skip
    frame = pl.DataFrame(rows)
    queries = frame[50:].select("identifier", "candidates", "candidate_smiles")
    return {"train": frame[:40], "val": frame[40:50], "queries": queries, "truth": frame[50:]}


@pytest.mark.parametrize("name", ["structure-only", "smiles-style"])
def test_classifiers_find_planted_decoys_and_nothing_where_nothing_is(name, world, ranking, tmp_path):
    told = planted(world, lambda rng: "F" + "".join(rng.choice(list("CNO"), 7)))
    model, report = fitted(name, told, tmp_path)
    assert hit_at_1(model.predict(told["queries"]), told["truth"]) == 1.0
    assert report.notes["validation_auc"] == 1.0
    assert report.parameters == model.parameters() > 0
    rng = np.random.default_rng(1)
    columns = {fold: told[fold] for fold in ("train", "val", "truth")}
    drawn = {fold: frame.with_columns(inchikey14=pl.Series([rng.choice(c) for c in frame["candidates"]]))
             for fold, frame in columns.items()}  # fmt: skip
    blind, report = fitted(name, {**told, **drawn}, tmp_path)
    assert hit_at_1(blind.predict(told["queries"]), drawn["truth"]) <= 0.4
    assert 0.2 < report.notes["validation_auc"] < 0.8


def test_a_classifier_needs_pools_and_says_so(ranking, world, tmp_path):
    with pytest.raises(ModelError, match="bring no candidates"):
        fitted("structure-only", world, tmp_path)
    empty = {**ranking, "train": ranking["train"].with_columns(candidates=None, candidate_smiles=None).cast(
        {"candidates": pl.List(pl.String), "candidate_smiles": pl.List(pl.String)})}  # fmt: skip
    with pytest.raises(ModelError, match="no training pool") as caught:
        fitted("smiles-style", empty, tmp_path)
    assert "train_pools" in caught.value.remedy
    with pytest.raises(ModelError, match="not fitted"):
        MODELS["structure-only"]().predict(ranking["queries"])


def test_choice_fit_agrees_with_a_plain_one():
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(30, 4))
    offsets = np.array([0, 4, 10, 19, 30])
    truth = np.array([1, 5, 12, 29])

    def loss(w):
        parts = [
            special.log_softmax(dense[a:b] @ w)[t - a] for a, b, t in zip(offsets[:-1], offsets[1:], truth, strict=True)
        ]
        return -np.mean(parts) + 0.05 * w @ w

    slow = optimize.minimize(loss, np.zeros(4)).x
    from scipy import sparse

    rows = sparse.csr_matrix(dense)
    fast = likeness.fit_choice(rows, offsets, truth, 0.1)
    assert fast == pytest.approx(slow, abs=1e-4)
    assert likeness.log_likelihood(rows @ fast, offsets, truth) == pytest.approx(-(loss(fast) - 0.05 * fast @ fast))
    below = [np.mean([(s[t - a] > x) + 0.5 * (s[t - a] == x) for k, x in enumerate(s) if k != t - a])
             for a, b, t in zip(offsets[:-1], offsets[1:], truth, strict=True) for s in [dense[a:b, 0]]]  # fmt: skip
    assert likeness.truth_auc(dense[:, 0], offsets, truth) == pytest.approx(np.mean(below))


def test_pool_features_are_what_they_say():
    lists = pl.Series([["CCO", "CCCO", "c1ccccc1"], ["CCO"]])
    pools = likeness.Pools.of(lists)
    rows = likeness.features(pools).toarray()
    flat = lists.explode().to_list()
    bits = molecule.morgan(flat)
    assert ((rows[:, : likeness.BITS] > 0) == bits).all()
    similarity = molecule.tanimoto(bits[:3], bits[:3])
    np.fill_diagonal(similarity, np.nan)
    assert rows[:3, -2] == pytest.approx(np.nanmean(similarity, axis=1), abs=1e-6)
    assert rows[:3, -1] == pytest.approx(np.nanmax(similarity, axis=1), abs=1e-6)
    assert rows[3, -2:].tolist() == [0, 0]
    carbons = rows[:, likeness.BITS + molecule.TRAITS.index("n_C")]
    assert np.expm1(carbons) == pytest.approx([2, 3, 6, 2])
    packed = molecule.morgan_packed(flat)
    assert (np.unpackbits(packed.view(np.uint8), axis=1, bitorder="little") == bits).all()
    assert molecule.formulas(["CCO", "[NH4+]"]) == ["C2H6O", "H4N"]


def test_mean_fingerprint_counts_molecules_once_in_each_mode(world, tmp_path):
    model, _ = fitted("mean-fingerprint", world, tmp_path)
    asked = world["test"].with_columns(
        ion_mode=pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise("ion_mode")
    )
    found = dict(model.predict(asked).iter_rows())
    for identifier, mode in asked.select("identifier", "ion_mode").iter_rows():
        rows = world["train"] if mode is None else world["train"].filter(ion_mode=mode)
        expected = molecule.morgan(rows["smiles"].unique().to_list()).mean(axis=0)
        assert found[identifier] == pytest.approx(expected, abs=1e-6)


def test_formula_fingerprint_averages_the_nearest_formulas_or_masses(world, tmp_path):
    model, _ = fitted("formula-fingerprint", world, tmp_path, neighbours=2)
    smiles = world["train"]["smiles"].unique().to_list()
    asked = world["test"].select("identifier", "precursor_mz", "adduct", "smiles", "ion_mode", "formula")
    by_formula, by_mass = model.predict(asked), model.predict(asked.drop("formula"))
    masses = np.array([molecule.identify(s).exact_mass for s in smiles])

    def counts(formula):
        from mslitmus.chem.formula import parse_formula

        return dict(parse_formula(formula).counts)

    for row, given, hidden in zip(asked.to_dicts(), by_formula["fingerprint"], by_mass["fingerprint"], strict=True):
        own = counts(row["formula"])
        apart = np.array([sum(abs(own.get(e, 0) - c.get(e, 0)) for e in {*own, *c})
                          for c in (counts(molecule.identify(s).formula) for s in smiles)])  # fmt: skip
        near = [s for s, d in zip(smiles, apart, strict=True) if d <= np.sort(apart)[1]]
        assert given.to_list() == pytest.approx(molecule.morgan(near).mean(axis=0), abs=1e-6)
        apart = np.abs(masses - molecule.identify(row["smiles"]).exact_mass)
        near = [s for s, d in zip(smiles, apart, strict=True) if d <= np.sort(apart)[1] + 1e-5]
        assert hidden.to_list() == pytest.approx(molecule.morgan(near).mean(axis=0), abs=1e-6)
    unknown = model.predict(asked.drop("formula").with_columns(adduct=pl.lit(None, pl.String)))
    assert unknown["fingerprint"][0].to_list() == pytest.approx(molecule.morgan(smiles).mean(axis=0), abs=1e-6)


def test_bad_options_are_refused():
    with pytest.raises(ConfigError, match="unknown option 'cuont'"):
        MODELS["candidate-popularity"](cuont="records")
    with pytest.raises(ConfigError, match="penalties"):
        MODELS["structure-only"](penalties=[])
