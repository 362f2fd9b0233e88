"""The query file shows what the task shows, in every format, and an answer made from it comes back."""

from __future__ import annotations

import json

import polars as pl
import pyarrow.parquet as pq
import pytest

from mslitmus.errors import ConfigError, PredictionError
from mslitmus.spectra import formats
from mslitmus.tasks.intake import read_predictions
from mslitmus.tasks.template import FORMATS, write_queries, write_training

from .made_queries import frame, keys, queries, task

BLIND = ("fingerprint", "retrieval")


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("name", ["fingerprint", "retrieval"])
def test_nothing_of_the_truth_is_in_the_files(tmp_path, name, ending):
    """Neither columns nor bytes nor file metadata; a retrieval pool holds the truth as one of its members only."""
    truth = frame()
    groups = {"largest": [{"group": key, "fold": "test"} for key in truth["inchikey14"]]}  # as Split.record() has them
    split = {"method": "molecule", "groups": groups}
    write_queries(queries(name), tmp_path / f"q.{ending}", task(name), dataset={"hash": "abc"}, split=split)
    readme = (tmp_path / f"q.{ending}.readme.json").read_text()
    assert not [key for key in truth["inchikey14"] if key in readme]
    secrets = [*truth["name"], *truth["formula"]]
    if name == "fingerprint":
        secrets += [*truth["smiles"], *truth["inchikey14"]]
    for path in tmp_path.iterdir():
        said = path.read_bytes()
        if path.suffix == ".parquet":
            said += str(pq.read_metadata(path).metadata).encode() + pl.read_parquet(path).write_ndjson().encode()
        for secret in secrets:
            quoted = f'"{secret}"' if len(secret) < 6 else secret  # short SMILES occur in any file by chance
            assert quoted.encode() not in said, (path.name, secret)
    if ending == "parquet":
        assert tuple(pl.read_parquet_schema(tmp_path / "q.parquet")) == task(name).visible
    if name == "retrieval" and ending in ("parquet", "jsonl"):
        read = pl.read_parquet(tmp_path / "q.parquet") if ending == "parquet" else pl.read_ndjson(tmp_path / "q.jsonl")
        assert read["candidates"].to_list() == [keys()] * 3  # the order of the task, the same for every query


@pytest.mark.parametrize("extra", ["smiles", "inchikey14", "truth_smiles", "name"])
def test_hidden_columns_are_refused(tmp_path, extra):
    given = queries("fingerprint").with_columns(pl.lit("x").alias(extra))
    with pytest.raises(PredictionError, match=f"the truth: {extra}"):
        write_queries(given, tmp_path / "q.parquet", task("fingerprint"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("name", ["spectrum-prediction", "fingerprint", "retrieval"])
def test_the_readme_says_how_to_answer(tmp_path, name, ending):
    path = tmp_path / f"q.{ending}"
    split = {"method": "molecule", "seed": 0}
    readme = write_queries(queries(name), path, task(name), dataset={"name": "d", "hash": "abc"}, split=split)
    said = json.loads(readme.read_text())
    assert said["task"] == name
    assert said["dataset"]["hash"] == "abc"
    assert said["split"] == split
    assert said["settings"]["candidates"] == "h"
    assert said["answer"]["columns"]["identifier"]
    assert said["queries"] == 3
    assert [(tmp_path / file).exists() for file in said["files"]] == [True] * len(said["files"])
    example = {**said["answer"]["example"], "identifier": "Q1"}
    if name == "retrieval":
        example["candidate"] = keys()[0]
    answer = tmp_path / "answer.jsonl"
    answer.write_text(json.dumps(example))
    assert read_predictions(answer, task(name), queries(name)).height == 1


def test_the_sheet_of_a_retrieval_is_filled_in_and_read_back(tmp_path):
    path = tmp_path / "q.csv"
    write_queries(queries("retrieval"), path, task("retrieval"))
    with pytest.raises(PredictionError, match="without score"):
        read_predictions(path, "retrieval", queries("retrieval"))
    sheet = pl.read_csv(path).with_columns(score=pl.int_range(pl.len()))
    sheet.write_csv(path)
    assert read_predictions(path, "retrieval", queries("retrieval"))["score"].to_list() == list(range(15))
    spectra = pl.read_csv(tmp_path / "q.spectra.csv")
    assert spectra["mzs"].to_list() == ["50.0 60.5", "51.0 60.5", "52.0 60.5"]


def test_measured_spectra_as_mgf(tmp_path):
    write_queries(queries("retrieval"), tmp_path / "q.mgf", task("retrieval"))
    read = formats.read(tmp_path / "q.mgf").frame
    assert read["identifier"].to_list() == ["Q1", "Q2", "Q3"]
    assert read["mzs"].to_list() == queries("retrieval")["mzs"].to_list()
    assert read["smiles"].null_count() == read["inchikey14"].null_count() == 3
    assert pl.read_csv(tmp_path / "q.candidates.csv").height == 15
    with pytest.raises(PredictionError, match="no peaks for MGF"):
        write_queries(queries("spectrum-prediction"), tmp_path / "q.mgf", task("spectrum-prediction"))


def test_training_files_hold_the_structures(tmp_path):
    rows = frame()
    for name in ("t.parquet", "t.jsonl", "t.csv"):
        write_training(rows, tmp_path / name)
    assert pl.read_parquet(tmp_path / "t.parquet").equals(rows)
    assert pl.read_ndjson(tmp_path / "t.jsonl")["smiles"].equals(rows["smiles"])
    assert pl.read_csv(tmp_path / "t.csv")["candidates"][0].split() == keys()
    write_training(rows, tmp_path / "t.mgf")
    assert formats.read(tmp_path / "t.mgf").frame["inchikey14"].equals(rows["inchikey14"])


def test_unknown_endings_are_named(tmp_path):
    with pytest.raises(PredictionError, match=r"'\.xlsx'"):
        write_queries(queries("fingerprint"), tmp_path / "q.xlsx", task("fingerprint"))
    with pytest.raises(ConfigError, match="parket"):
        write_training(frame(), tmp_path / "q", "parket")
