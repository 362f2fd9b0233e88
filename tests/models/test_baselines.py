"""precursor-only and nearest-molecule: the documented rules, row by row against a plain search."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.chem import molecule
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import MODELS
from mslitmus.models.protocol import FitContext, FitReport, Model


def fitted(name, world, tmp_path, **options):
    model = MODELS[name](**options)
    model.fit(world["train"], world["val"], FitContext(tmp_path))
    return model


def test_precursor_only_puts_everything_at_the_precursor(world, tmp_path):
    predicted = fitted("precursor-only", world, tmp_path).predict(world["queries"])
    assert predicted["mzs"].list.first().to_list() == world["queries"]["precursor_mz"].to_list()
    assert predicted["intensities"].to_list() == [[1.0]] * world["queries"].height


def plain_rule(query, train):
    """The module's rule, in Python loops."""
    pool = [r for r in train if r["adduct"] == query["adduct"] and query["adduct"]]
    pool = pool or [r for r in train if r["ion_mode"] == query["ion_mode"] and query["ion_mode"]] or train
    prints = {s: molecule.morgan([s])[0].astype(float) for s in {r["smiles"] for r in [*pool, query]}}

    def similarity(smiles):
        a, b = prints[query["smiles"]], prints[smiles]
        return np.float32(a @ b) / np.float32(a.sum() + b.sum() - a @ b)

    def unit(row):
        kind = row["collision_energy_kind"]
        return kind if kind in ("resonant-%", "unitless") else "eV"

    def distance(row):
        a, b = query["collision_energy"], row["collision_energy"]
        if a is None and b is None:
            return 0.0
        if a is None or b is None:
            return 1e6
        return abs(a - b) if unit(query) == unit(row) else 1e9

    best = max(similarity(r["smiles"]) for r in pool)
    chosen = min((r["inchikey14"], r["smiles"]) for r in pool if similarity(r["smiles"]) == best)
    spectra = [r for r in pool if r["smiles"] == chosen[1]]
    return min(
        spectra,
        key=lambda r: (distance(r), r["instrument_type"] != query["instrument_type"],
                       r["fragmentation"] != query["fragmentation"], r["identifier"]),
    )["identifier"]  # fmt: skip


def test_nearest_molecule_follows_its_documented_rule(world, tmp_path):
    queries = world["queries"].with_columns(
        adduct=pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("[M+Na]+")).otherwise("adduct"),
        ion_mode=pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise("ion_mode"),
        collision_energy=pl.when(pl.int_range(pl.len()) % 3 == 0).then(27.0).otherwise("collision_energy"),
        collision_energy_kind=pl.when(pl.int_range(pl.len()) % 6 == 0).then(pl.lit("unitless")).otherwise(pl.lit("eV")),
    )
    model = fitted("nearest-molecule", world, tmp_path)
    found = dict(model.neighbours(queries).select("identifier", "neighbour").iter_rows())
    train = world["train"].to_dicts()
    assert found == {q["identifier"]: plain_rule(q, train) for q in queries.to_dicts()}
    spectra = {r["identifier"]: r["mzs"] for r in train}
    for row in model.predict(queries).iter_rows(named=True):
        assert row["mzs"] == spectra[found[row["identifier"]]]


def test_a_training_molecule_gets_its_own_spectrum(world, tmp_path):
    model = fitted("nearest-molecule", world, tmp_path)
    predicted = model.predict(world["train"])
    assert predicted["mzs"].to_list() == world["train"]["mzs"].to_list()


def test_replace_moves_the_precursor(world, tmp_path):
    model = fitted("nearest-molecule", world, tmp_path, precursor="replace")
    predicted = model.predict(world["queries"]).join(world["queries"], on="identifier")
    assert predicted.select((pl.col("mzs").list.contains(pl.col("precursor_mz"))).all()).item()
    assert all(m == sorted(m) for m in predicted["mzs"].to_list())


@pytest.mark.parametrize("name", ["precursor-only", "nearest-molecule"])
def test_they_keep_the_protocol(name, world, tmp_path):
    model = MODELS[name]()
    assert isinstance(model, Model)
    report = model.fit(world["train"], world["val"], FitContext(tmp_path))
    assert isinstance(report, FitReport)
    assert report.to_json()["history"] == []
    model.save(tmp_path / "model")
    again = MODELS[name].load(tmp_path / "model")
    assert again.predict(world["queries"]).equals(model.predict(world["queries"]))
    shuffled = world["queries"].sample(fraction=1.0, shuffle=True, seed=3)
    assert model.predict(shuffled).sort("identifier").equals(model.predict(world["queries"]).sort("identifier"))


def test_misspelt_options_are_refused_by_name():
    with pytest.raises(ConfigError, match="unknown option 'precusor'") as caught:
        MODELS["nearest-molecule"](precusor="copy")
    assert "precursor" in caught.value.remedy
    with pytest.raises(ConfigError, match="'radius'"):
        MODELS["nearest-molecule"](radius="two")
    with pytest.raises(ConfigError, match="unknown model"):
        MODELS["nearest-molecul"]


def test_not_fitted_and_nothing_to_fit_on(world, tmp_path):
    with pytest.raises(ModelError, match="not fitted"):
        MODELS["nearest-molecule"]().predict(world["queries"])
    with pytest.raises(ModelError, match="no training spectrum"):
        MODELS["nearest-molecule"]().fit(world["train"].clear(), world["val"], FitContext(tmp_path))
