"""Odd spectra and odd sets of queries: learned models of spectra answer them with numbers, or refuse in words."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

from mslitmus.errors import ModelError
from mslitmus.models import MODELS
from mslitmus.models.embed.contrastive import ContrastOptions, Labels, teaches, windows
from mslitmus.models.embed.embedder import Design, DesignOptions, SpectrumEmbedder
from mslitmus.models.embed.files import VectorFile, read_vectors
from mslitmus.models.predict.conditioning import ConditionVocabulary
from mslitmus.models.protocol import FitContext
from mslitmus.schemas import SPECTRA
from mslitmus.tasks.library_search import LibrarySearch

VOCABULARY = ConditionVocabulary(("[M+H]+",))
PLAIN = {
    "mzs": [50.0, 60.0, 100.0], "intensities": [1.0, 0.5, 0.1], "precursor_mz": 150.0, "adduct": "[M+H]+", "charge": 1,
    "ion_mode": "positive", "instrument_type": "QTOF", "fragmentation": "HCD", "collision_energy": 20.0,
    "collision_energy_kind": "eV", "formula": "C7H8O2",
}  # fmt: skip
ODD = {
    "plain": {},
    "no list of peaks": {"mzs": None, "intensities": None},
    "no peaks": {"mzs": [], "intensities": []},
    "intensities 0": {"intensities": [0.0, 0.0, 0.0]},
    "peaks in no order": {"mzs": [60.0, 50.0, 60.0]},
    "peaks beyond the bins": {"mzs": [60.0, 5000.0, 9000.0]},
    "precursor absent": {"precursor_mz": None},
    "precursor NaN": {"precursor_mz": float("nan")},
    "precursor infinite": {"precursor_mz": float("inf")},
    "precursor below 0": {"precursor_mz": -3.0},
    "adduct unreadable": {"adduct": "M with something"},
    "adduct absent": {"adduct": None},
    "energy NaN": {"collision_energy": float("nan")},
    "energy infinite": {"collision_energy": float("inf")},
    "formula unreadable": {"formula": "Q7"},
    "formula absent": {"formula": None},
}
WITHOUT_PRECURSOR = ("precursor absent", "precursor NaN", "precursor infinite", "precursor below 0")


def odd() -> pl.DataFrame:
    rows = [{"identifier": name, **PLAIN, **change} for name, change in ODD.items()]
    return pl.DataFrame(rows, schema={name: SPECTRA[name] for name in rows[0]})


def at(name: str) -> int:
    return list(ODD).index(name)


@pytest.mark.parametrize("precursor", ["exact", "rounded", "none"])
@pytest.mark.parametrize("network", [{"name": "transformer", "size": "tiny", "out": 8}, {"name": "mlp", "out": 8}])
def test_every_spectrum_has_a_vector(network, precursor):
    design = Design.of(DesignOptions(network=network, precursor=precursor))
    made = SpectrumEmbedder(design, VOCABULARY, design.build(VOCABULARY))
    vectors = made.embed(odd())
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for name in WITHOUT_PRECURSOR[1:]:  # what is no m/z is as unknown as what is not there
        assert vectors[at(name)] == pytest.approx(vectors[at("precursor absent")], abs=1e-5)
    assert vectors[at("no list of peaks")] == pytest.approx(vectors[at("no peaks")], abs=1e-5)
    assert made.embed(odd().clear()).shape == (0, 8)
    untold = pl.DataFrame({"identifier": ["a"], "mzs": [[60.0]], "intensities": [[1.0]], "adduct": [None]})
    assert np.isfinite(made.embed(untold)).all()  # a column of nothing but nulls has no type


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("binned-mlp", {"mlp": {"width": 8}}),
        ("fingerprint-transformer", {"formula": "given", "network": {"width": 8, "layers": 1, "heads": 2}}),
        ("fingerprint-transformer", {"formula": "predicted", "network": {"width": 8, "layers": 1, "heads": 2}}),
        ("fingerprint-transformer", {"formula": "absent", "network": {"width": 8, "layers": 1, "heads": 2}}),
    ],
)
def test_every_spectrum_has_a_fingerprint(name, options):
    model = MODELS[name](**options)
    model._build(VOCABULARY)
    told = model.predict(odd())
    bits = np.array(told["fingerprint"].to_list())
    assert told["identifier"].to_list() == list(ODD)
    assert bits.shape == (len(ODD), 2048)
    assert np.isfinite(bits).all()
    for name in WITHOUT_PRECURSOR[1:]:
        assert bits[at(name)] == pytest.approx(bits[at("precursor absent")], abs=1e-5)


def test_a_file_without_a_spectrum_comes_back(tmp_path):
    with VectorFile(tmp_path / "v.parquet", 4) as file:
        file.write(pl.Series([], dtype=pl.String), np.zeros((0, 4), np.float32))
    names, vectors = read_vectors(tmp_path / "v.parquet")
    assert (names, vectors.shape) == ([], (0, 4))


# -- library search --------------------------------------------------------------------------------------------------


def records(copies: int = 2) -> pl.DataFrame:
    """Ten isomers of so many spectra each, and of each contributor one."""
    rows = [
        {
            **PLAIN, "identifier": f"{molecule:02}-{copy}", "mzs": [50.0, 60.0 + molecule, 100.0], "smiles": "CCCO",
            "inchikey14": f"{molecule:014}", "source": f"lab {copy}",
        }
        for molecule in range(10)
        for copy in range(copies)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def views(frame: pl.DataFrame):
    task = LibrarySearch(leave_out="spectrum").over(frame, frame["identifier"], lambda line: None)
    here = pl.col("inchikey14") < f"{6:014}"
    return task, *(task.training_view(frame.filter(part)) for part in (here, ~here))


SMALL = {"network": {"name": "mlp", "width": 8, "layers": 0, "out": 8}, "training": {"epochs": 1, "batch_size": 16}}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("library-embedding", SMALL),
        ("library-sum", {"embedders": [SMALL], "alpha": [0.5]}),
        ("library-combined", {"learner": "logistic", "penalty": [1.0], "leave_out": "spectrum", "embedder": SMALL}),
    ],
)
def test_no_query_one_query_and_odd_ones(tmp_path, name, options):
    if name == "library-combined":
        pytest.importorskip("sklearn")
    frame = records()
    task, train, val = views(frame)
    model = MODELS[name](**options)
    model.fit(train, val, FitContext(tmp_path / "fit", 0, lambda p, v: 0.5, progress=lambda line: None, device="cpu"))
    model.save(tmp_path / "saved")
    again = MODELS[name].load(tmp_path / "saved")
    queries = task.queries(frame)
    assert again.predict(queries.clear()).is_empty()
    asked = again.predict(queries)
    assert asked["score"].to_numpy() == pytest.approx(model.predict(queries)["score"].to_numpy(), abs=1e-6)
    alone = again.predict(queries[:1])
    assert alone["score"].to_numpy() == pytest.approx(asked["score"].to_numpy()[: alone.height], abs=1e-5)
    without = queries.with_columns(candidates=pl.lit([], dtype=pl.List(pl.String)))
    assert again.predict(without).is_empty()
    change = odd().drop("identifier", "formula")
    strange = queries[: change.height].with_columns(change.get_columns())
    answers = again.predict(strange)
    assert answers.height == strange["candidates"].list.len().sum()
    assert answers["score"].is_finite().all()


def test_a_contrast_that_teaches_nothing_is_refused(tmp_path):
    """One spectrum a molecule: no positive, so every loss would be 0."""
    _, train, val = views(records(copies=1))
    context = FitContext(tmp_path, 0, lambda p, v: 0.5, progress=lambda line: None, device="cpu")
    with pytest.raises(ModelError, match="no training molecule has two spectra"):
        MODELS["library-embedding"](**SMALL).fit(train, val, context)
    molecule, window = np.array([0, 0, 1]), np.array([0, 0, 1])
    labels, rows = Labels(molecule, window, np.zeros(3, np.int64)), np.arange(3)
    assert teaches(labels, rows, ContrastOptions())
    assert not teaches(labels, rows, ContrastOptions(window=1.0))  # no other molecule in the window
    assert not teaches(labels, rows[:2], ContrastOptions())
    assert not teaches(labels, rows[1:], ContrastOptions())


def test_an_unknown_precursor_is_in_nobodys_window():
    frame = pl.DataFrame({"adduct": ["[M+H]+"] * 4, "precursor_mz": [100.0, float("nan"), 100.0005, float("nan")]})
    found = windows(frame, 10.0)
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 3
