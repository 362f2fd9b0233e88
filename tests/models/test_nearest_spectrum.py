"""nearest-spectrum, random-neighbour and best-molecule: the documented rules, row by row against a plain search."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.chem import molecule
from mslitmus.chem.formula import parse_adduct, parse_formula
from mslitmus.errors import ConfigError, ModelError, PredictionError
from mslitmus.models import MODELS
from mslitmus.models.protocol import FitContext, Model
from mslitmus.schemas import PREDICTED_FINGERPRINTS
from mslitmus.spectra import similarity
from mslitmus.spectra.tolerance import Tolerance

QUERY = ["identifier", "mzs", "intensities", "precursor_mz", "adduct", "charge", "ion_mode", "instrument_type",
         "fragmentation", "collision_energy", "collision_energy_kind", "formula"]  # fmt: skip


@pytest.fixture
def folds(tiny):
    """Train and test of different molecules, with unknown adducts, modes, formulae and an empty spectrum."""
    names = tiny["inchikey14"].unique().sort()
    train = tiny.filter(pl.col("inchikey14").is_in(names.gather_every(2).implode()))
    test = tiny.filter(~pl.col("inchikey14").is_in(names.gather_every(2).implode()))
    # Some queries share a formula, and so a mass, with a training molecule; one precursor is unlike all.
    given = train.select("formula", "precursor_mz", "adduct").unique(maintain_order=True).head(8)
    borrowed = pl.int_range(pl.len()) < 8
    donor = pl.concat([given, given.clear(n=test.height - 8)])
    n = pl.int_range(pl.len())
    test = test.with_columns(pl.when(borrowed).then(donor[c]).otherwise(c).alias(c) for c in given.columns)
    test = test.with_columns(
        adduct=pl.when(n % 5 == 1).then(None).otherwise("adduct"),
        ion_mode=pl.when(n % 7 == 2).then(None).otherwise("ion_mode"),
        mzs=pl.when(n == 9).then(pl.lit([], dtype=pl.List(pl.Float64))).otherwise("mzs"),
        intensities=pl.when(n == 9).then(pl.lit([], dtype=pl.List(pl.Float32))).otherwise("intensities"),
        precursor_mz=pl.when(n == 10).then(5000.0).otherwise("precursor_mz"),
        formula=pl.when(n == 11).then(None).otherwise("formula"),
    )
    unlabelled = train.head(2).with_columns(
        smiles=None, inchikey14=None, identifier=pl.concat_str(pl.lit("x"), "identifier")
    )
    train = pl.concat([train.with_columns(adduct=pl.when(n % 6 == 0).then(None).otherwise("adduct")), unlabelled])
    return train, test.select(QUERY)


def mass(row):
    return None if row["adduct"] is None else parse_adduct(row["adduct"]).neutral_mass(row["precursor_mz"])


def in_tier(tier, query, row):
    if tier == "all":
        return True
    if tier == "mass":
        a, b = mass(query), mass(row)
        if a is None or b is None:
            a, b = query["precursor_mz"], row["precursor_mz"]
        return bool(Tolerance.of("10ppm").within(a, b))
    if query["formula"] is None:
        return False
    a, b = (dict(parse_formula(r["formula"]).counts) for r in (query, row))
    if tier == "formula":
        return a == b
    return all(n <= b.get(e, 0) for e, n in a.items()) or all(n <= a.get(e, 0) for e, n in b.items())


def pool_of(tiers, query, train):
    """The module's rule, in Python loops: (tier, pool)."""
    for tier in tiers:
        members = [row for row in train if in_tier(tier, query, row)]
        if members:
            same = [row for row in members if row["ion_mode"] == query["ion_mode"] and query["ion_mode"]]
            return tier, same or members
    return None, []


def score(query, row, options):
    a, b = ((np.array(r["mzs"]), np.array(r["intensities"])) for r in (query, row))
    if options["score"] == "entropy":
        return similarity.entropy(a, b, "0.01Da")
    precursors = query["precursor_mz"], row["precursor_mz"]
    precursors = precursors if options["score"] == "modified-cosine" else (None, None)
    return similarity.modified_cosine(a, b, *precursors, "0.01Da", options["intensity_power"])


OPTIONS = [
    {"score": "entropy"},
    {"score": "modified-cosine", "intensity_power": 0.5, "tiers": ["mass", "all"]},
    {"score": "cosine", "intensity_power": 0.5, "tiers": ["formula", "subformula", "all"]},
    {"score": "cosine", "intensity_power": 1.0, "tiers": ["formula"], "skip": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_follows_its_documented_rule(options, folds, tmp_path):
    train, queries = folds
    model = MODELS["nearest-spectrum"](**options)
    model.fit(train, train.head(0), FitContext(tmp_path))
    found = {row["identifier"]: row for row in model.neighbours(queries).to_dicts()}
    known = [row for row in train.to_dicts() if row["smiles"]]
    tiers = set()
    for query in queries.to_dicts():
        tier, pool = pool_of(options.get("tiers", ["all"]), query, known)
        if not pool:
            assert query["identifier"] not in found
            continue
        rated = [(-round(score(query, row, options), 9), row["identifier"], row) for row in pool]
        if max(-s for s, _, _ in rated) == 0:
            rated = [(abs(r["precursor_mz"] - query["precursor_mz"]), name, r) for _, name, r in rated]
        best = min(rated, key=lambda entry: entry[:2])
        got = found[query["identifier"]]
        assert (got["neighbour"], got["smiles"], got["tier"]) == (best[1], best[2]["smiles"], tier)
        assert got["similarity"] == pytest.approx(score(query, best[2], options), abs=1e-6)
        tiers.add(tier)
    assert tiers >= {options.get("tiers", ["all"])[0]}
    assert len(found) == queries.height or options.get("skip")
    assert len(found) < queries.height or not options.get("skip")


def test_predictions_are_the_bits_of_the_neighbour(folds, tmp_path):
    train, queries = folds
    model = MODELS["nearest-spectrum"]()
    model.fit(train, train.head(0), FitContext(tmp_path))
    predicted, found = model.predict(queries), model.neighbours(queries)
    assert predicted.schema == dict(PREDICTED_FINGERPRINTS)
    assert predicted["identifier"].to_list() == found["identifier"].to_list() == queries["identifier"].to_list()
    assert np.array_equal(np.array(predicted["fingerprint"].to_list()), molecule.morgan(found["smiles"].to_list()))


def test_the_random_neighbour_is_of_the_same_pool_and_fixed_by_seed_and_identifier(folds, tmp_path):
    train, queries = folds
    known = [row for row in train.to_dicts() if row["smiles"]]
    tiers = ["formula", "all"]
    chosen = {}
    for seed in range(30):
        model = MODELS["random-neighbour"](tiers=tiers)
        model.fit(train, train.head(0), FitContext(tmp_path, seed=seed))
        found = model.neighbours(queries)
        assert found.equals(model.neighbours(queries))
        assert found.sort("identifier").equals(
            model.neighbours(queries.sample(fraction=1.0, shuffle=True, seed=1)).sort("identifier")
        )
        for row in found.to_dicts():
            chosen.setdefault(row["identifier"], set()).add((row["tier"], row["inchikey14"]))
    for query in queries.to_dicts():
        tier, pool = pool_of(tiers, query, known)
        allowed = {(tier, row["inchikey14"]) for row in pool}
        assert chosen[query["identifier"]] <= allowed
        assert len(chosen[query["identifier"]]) > 1 or len(allowed) == 1


def test_the_oracle_takes_the_molecule_nearest_to_the_truth(folds, tiny, tmp_path):
    train, queries = folds
    truth = tiny.select("identifier", truth_smiles="smiles", truth_inchikey14="inchikey14")
    asked = queries.join(truth, on="identifier", how="left", maintain_order="left")
    model = MODELS["best-molecule"]()
    model.fit(train, train.head(0), FitContext(tmp_path))
    known = sorted({(k, s) for k, s in train.drop_nulls("smiles").select("inchikey14", "smiles").iter_rows()})
    bits = molecule.morgan([s for _, s in known])
    for row, smiles in zip(model.neighbours(asked).to_dicts(), asked["truth_smiles"], strict=True):
        values = molecule.tanimoto(molecule.morgan([smiles]), bits)[0]
        assert (row["inchikey14"], row["smiles"]) == known[int(values.argmax())]
        assert row["similarity"] == pytest.approx(values.max())
    own = train.drop_nulls("smiles").select("identifier", truth_smiles="smiles")
    assert model.neighbours(own)["similarity"].min() == 1.0
    with pytest.raises(PredictionError, match="needs the truth"):
        model.predict(queries)


@pytest.mark.parametrize("name", ["nearest-spectrum", "random-neighbour", "best-molecule"])
def test_they_keep_the_protocol(name, folds, tiny, tmp_path):
    train, queries = folds
    truth = tiny.select("identifier", truth_smiles="smiles", truth_inchikey14="inchikey14")
    queries = queries.join(truth, on="identifier", how="left", maintain_order="left")
    model = MODELS[name]()
    assert isinstance(model, Model)
    assert (model.task, model.kind) == ("fingerprint", "oracle" if name == "best-molecule" else "neighbour")
    with pytest.raises(ModelError, match="not fitted"):
        model.predict(queries)
    with pytest.raises(ModelError, match="no training spectrum"):
        model.fit(train.clear(), train.clear(), FitContext(tmp_path))
    model.fit(train, train.clear(), FitContext(tmp_path, seed=3))
    assert model.parameters() == 0
    model.save(tmp_path / "model")
    predicted = model.predict(queries)
    assert MODELS[name].load(tmp_path / "model").predict(queries).equals(predicted)
    assert model.predict(queries.head(0)).height == 0
    shuffled = model.predict(queries.sample(fraction=1.0, shuffle=True, seed=3))
    assert shuffled.sort("identifier").equals(predicted.sort("identifier"))


def test_what_cannot_be_asked_is_refused(folds, tmp_path):
    train, queries = folds
    nearest = MODELS["nearest-spectrum"]
    with pytest.raises(ConfigError, match="unknown tier 'masses'"):
        nearest(tiers=["masses", "all"])
    with pytest.raises(ConfigError, match="without a neighbour"):
        nearest(tiers=["mass"])
    with pytest.raises(ConfigError, match="not a tolerance"):
        nearest(tolerance="0.01")
    with pytest.raises(ConfigError, match="not a tolerance"):
        nearest(precursor_tolerance="ten")
    model = nearest(tiers=["formula", "all"])
    model.fit(train, train.clear(), FitContext(tmp_path))
    with pytest.raises(ModelError, match="which this task hides"):
        model.predict(queries.drop("formula"))
