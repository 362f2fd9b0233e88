"""What every registered model promises, whatever it is: the registry is iterated, plug-ins included."""

from __future__ import annotations

from typing import get_args

import polars as pl
import pytest
from numpy.testing import assert_allclose

from mslitmus.errors import ConfigError, MissingExtraError
from mslitmus.models import MODELS
from mslitmus.models.protocol import FitContext, FitReport, Kind, Model
from mslitmus.tasks import TASKS

_TRAINING = {"epochs": 1, "batch_size": 16, "learning_rate": 0.01}
#: Options that a model cannot do without, or that keep the test short.
OPTIONS = {
    "neural": {"trunk": {"width": 32, "layers": 1}, "training": _TRAINING},
    "neims": {
        "encoder": {"bits": 256, "width": 32, "layers": 1},
        "trunk": {"width": 32, "layers": 1},
        "training": _TRAINING,
    },
    "massformer": {
        "encoder": {"size": "slim", "layers": 1},
        "trunk": {"width": 32, "layers": 1},
        "training": _TRAINING,
    },
    "binned-mlp": {"bins": {"width": 1.0}, "mlp": {"width": 32}, "training": _TRAINING},
    "fingerprint-blend": {
        "members": [
            {"model": "nearest-spectrum"},
            {"model": "binned-mlp", "options": {"bins": {"width": 1.0}, "mlp": {"width": 32}, "training": _TRAINING}},
        ],
        "rounds": 3,
    },
    "fingerprint-transformer": {
        "formula": "predicted",
        "network": {"width": 32, "layers": 1, "heads": 4, "pairs": 4},
        "training": _TRAINING,
    },
    "library-embedding": {"network": {"name": "transformer", "size": "tiny", "out": 16}, "training": _TRAINING},
    "library-combined": {
        "leaves": [4],
        "rounds": [5],
        "leave_out": "spectrum",
        "precursor_tolerance": "500Da",
        "same": [],
        "embedder": {"network": {"name": "mlp", "out": 16, "width": 16}, "training": _TRAINING},
    },
    "library-sum": {
        "alpha": [0.5],
        "embedders": [{"network": {"name": "mlp", "out": 16, "width": 16}, "training": _TRAINING}],
    },
    "fingerprint-to-smiles": {
        "network": {"size": "tiny"},
        "fingerprint": {"model": "nearest-spectrum"},
        "beams": 2,
        "rerank": {"fingerprint": "validation"},
        "training": {"val_limit": 2},
    },
    "spectrum-to-smiles": {
        "network": {"size": "tiny"},
        "beams": 2,
        "top": 20,
        "training": {**_TRAINING, "val_limit": 2},
    },
    "tuned-spectrum-to-smiles": {
        "network": {"size": "tiny"},
        "beams": 2,
        "top": 20,
        "tuning": {"batch": 4, "limit": -1.0},
        "rerank": {"fingerprint": "validation"},
        "training": {**_TRAINING, "val_limit": 2},
    },
    "structure-blend": {"members": [{"model": "nearest-structure"}, {"model": "random-structure"}]},
    "rank-by-fingerprint": {"of": "mean-fingerprint"},
    "rank-by-spectra": {"of": "nearest-molecule"},
}


@pytest.fixture(params=list(MODELS))
def case(request, world, ranking, tmp_path):
    """(name, options, train, val, queries) as the model's own task shows them."""
    name = request.param
    options = OPTIONS.get(name, {})
    if name == "external":
        made = MODELS["precursor-only"]().predict(world["queries"])
        made.write_parquet(tmp_path / "made.parquet")
        options = {"predictions": str(tmp_path / "made.parquet")}
    if name == "fingerprint-to-smiles":
        options = {**options, "weights": str(request.getfixturevalue("decoder"))}
    try:
        model = MODELS[name](**options)  # a model of models may need what it does not import itself
    except MissingExtraError as error:
        pytest.skip(str(error))
    if model.task == "spectrum-prediction":
        return name, options, world["train"], world["val"], world["queries"]
    if model.task == "library-search":
        return name, options, *library_views(world)
    train, val, queries = (ranking[part] for part in ("train", "val", "queries"))
    if model.task == "generation":
        train, val, queries = world["train"], world["val"], TASKS["generation"]().queries(world["test"])
        ranking = {"truth": world["test"]}
    if model.task == "fingerprint":
        train, val, queries = (part.drop("candidates", "candidate_smiles") for part in (train, val, queries))
    if model.kind == "oracle":
        truth = ranking["truth"].select("identifier", truth_smiles="smiles", truth_inchikey14="inchikey14")
        queries = queries.join(truth, on="identifier", maintain_order="left")
    return name, options, train, val, queries


def library_views(world) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """train, val and queries as the task library-search shows them; two copies of all, so that all can be found."""
    again = [rows.with_columns(pl.concat_str("identifier", pl.lit("b"))) for rows in world.values() if "mzs" in rows]
    records = pl.concat([*(world[fold] for fold in ("train", "val", "test")), *again])
    held_out = pl.concat([world["val"]["identifier"], world["test"]["identifier"]])
    task = TASKS["library-search"](leave_out="spectrum").over(records, held_out, lambda line: None)
    train, val = (task.training_view(world[fold]) for fold in ("train", "val"))
    return train, val, task.queries(task.asked(world["test"]))


def same(a: pl.DataFrame, b: pl.DataFrame) -> None:
    """Equal rows in equal order; numbers to the rounding of 32-bit networks."""
    assert a.schema == b.schema
    for column, dtype in a.schema.items():
        if dtype == pl.String:
            assert a[column].to_list() == b[column].to_list()
        elif isinstance(dtype, pl.List):
            assert a[column].list.len().to_list() == b[column].list.len().to_list()
            assert_allclose(a[column].explode().to_numpy(), b[column].explode().to_numpy(), rtol=1e-4, atol=1e-6)
        else:
            assert_allclose(a[column].to_numpy(), b[column].to_numpy(), rtol=1e-6, atol=1e-9)


def test_every_model_keeps_the_contract(case, tmp_path):
    name, options, train, val, queries = case
    model = MODELS[name](**options)
    assert isinstance(model, Model)
    assert model.kind in get_args(Kind)
    task = TASKS[model.task]()

    report = model.fit(train, val, FitContext(tmp_path / "fit", device="cpu"))
    assert isinstance(report, FitReport)
    assert model.parameters() >= 0

    predicted = model.predict(queries)
    assert task.check(predicted, queries).equals(predicted)
    assert predicted["identifier"].unique(maintain_order=True).to_list() == queries["identifier"].to_list()
    if model.task == "retrieval":
        assert predicted["candidate"].to_list() == queries["candidates"].explode().to_list()

    keys = [c for c in ("identifier", "candidate", "smiles") if c in predicted.columns]
    shuffled = model.predict(queries.sample(fraction=1.0, shuffle=True, seed=3))
    same(shuffled.sort(keys), predicted.sort(keys))
    alone = queries[4:5]
    same(model.predict(alone), predicted.filter(pl.col("identifier") == alone["identifier"][0]))

    model.save(tmp_path / "saved")
    again = MODELS[name].load(tmp_path / "saved")
    assert (again.task, again.kind, again.parameters()) == (model.task, model.kind, model.parameters())
    same(again.predict(queries), predicted)


def test_every_model_refuses_an_unknown_option(case):
    name, options, *_ = case
    with pytest.raises(ConfigError, match="unknown option 'colour'"):
        MODELS[name](**options, colour="blue")
