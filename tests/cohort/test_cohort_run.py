"""A made-up cohort from its files to the tables of its run folder."""

from __future__ import annotations

import json
import tarfile

import made_cohort
import numpy as np
import polars as pl
import pytest

pytest.importorskip("sklearn", reason="the extra cohort is not installed")

from mslitmus.cli.cohort import _verdicts
from mslitmus.cohort import layout
from mslitmus.cohort.embedding import Embedding
from mslitmus.cohort.run import Finished, run
from mslitmus.cohort.settings import CohortSettings
from mslitmus.cohort.tables import SHUFFLED, TABLES, TOGETHER, table
from mslitmus.errors import DataError, FormatError

HOW = CohortSettings(
    targets=("group", "dose"), folds=3, inner_folds=2, seeds=2, permutations=19, bootstraps=100, splits="folds"
)


@pytest.fixture(autouse=True)
def _no_umap(monkeypatch, request):
    """It takes seconds to compile: one test has it."""
    if "umap" not in request.node.name:
        monkeypatch.setattr(layout, "LEAST", 10_000)


def quiet(line):
    pass


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return made_cohort.write(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def done(files, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "LEAST", 10_000)
        return run(files, files.parent, tmp_path_factory.mktemp("run") / "made", HOW, say=quiet)


def value(results, **where):
    found = results.filter(**{"seed": "all", "aggregation": "chosen", **where})
    assert found.height == 1
    return found.row(0, named=True)


def test_every_table_is_there(done):
    for name, schema in TABLES.items():
        assert pl.read_parquet(done.root / f"{name}.parquet").schema == pl.Schema(schema)
    samples = pl.read_parquet(done.root / "samples.parquet")
    assert samples.height == 26
    assert samples.filter(role="sample")["n_spectra"].min() > 15
    first = pl.read_parquet(done.root / "spectra" / "s00_0.parquet")
    assert first["identifier"].str.starts_with("s00_0:").all()
    vectors = pl.read_parquet(done.root / "vectors" / "fragments.parquet")
    words = pl.read_parquet(done.root / "vectors" / "fragments.words.parquet")
    assert vectors["vector"].list.len().unique().to_list() == [words.height]
    config = json.loads((done.root / "config.json").read_text())
    assert config["kept_together"] == {"all": ["replicate"]}
    assert any("batches are not kept together" in note for note in config["notes"])


def test_what_was_planted_is_found(done):
    found = value(done.results, target="group", representation="fragments", metric="macro-f1")
    assert found["value"] > 0.9
    assert found["low"] <= found["value"] <= found["high"] + 1e-9
    assert found["p_permutation"] <= 0.1
    assert 0.3 < found["chance_mean"] < 0.7
    assert found["n_groups"] == 12
    control = value(done.results, target="group", representation="fragments" + SHUFFLED, metric="macro-f1")
    assert control["value"] == found["chance_mean"]
    assert value(done.results, target="dose", representation="fragments", metric="r2")["value"] > 0.3
    apart = pl.read_parquet(done.root / "separation.parquet")
    assert (
        apart.filter(target="group", metric="permanova-r2", representation="fragments")["p_permutation"].item() <= 0.1
    )
    assert done.comparisons.filter(target="group")["against"].unique().to_list() == ["precursor-histogram"]


def test_predictions_are_held_out(done):
    predictions = pl.read_parquet(done.root / "predictions.parquet")
    assert predictions.group_by("target", "representation", "seed").len()["len"].unique().to_list() == [24]
    one = predictions.with_columns(subject=pl.col("sample").str.slice(0, 3))
    assert one.group_by("target", "representation", "seed", "subject").agg(pl.col("fold").n_unique())["fold"].max() == 1
    near = pl.read_parquet(done.root / "neighbours.parquet")
    assert (near["sample"].str.slice(0, 3) != near["neighbour"].str.slice(0, 3)).all()
    assert (near["best_possible_distance"] <= near["truth_distance"]).all()


def test_what_blanks_hold_is_left_out(done):
    spectra = pl.read_parquet(done.root / "spectra" / "s00_0.parquet")
    flagged = spectra.filter(pl.col("flags").list.contains("in-blank").fill_null(False))
    assert 1 <= flagged.height <= 3
    assert any("seen in a blank" in note for note in done.notes)


def test_the_same_again_is_taken_as_it_is(done, files, monkeypatch):
    from mslitmus.cohort import asking, intake

    def refuse(*_):
        raise AssertionError("this was done already")

    monkeypatch.setattr(intake, "keep_run", refuse)
    monkeypatch.setattr(intake, "summarise", refuse)
    monkeypatch.setattr(asking, "_asked", refuse)
    again = run(files, files.parent, done.root, HOW, say=quiet)
    assert again.results.equals(done.results)


def test_a_kill_loses_nothing(files, tmp_path, monkeypatch):
    """Interrupted while reading, then continued: what was read is not read again."""
    from mslitmus.cohort import intake

    read = []
    original = intake.keep_run

    def few(source, sample, *rest):
        if len(read) == 5:
            raise KeyboardInterrupt
        read.append(sample)
        return original(source, sample, *rest)

    how = HOW.model_copy(update={"representations": ("precursor-histogram",), "permutations": 3, "targets": ("group",)})
    monkeypatch.setattr(intake, "keep_run", few)
    with pytest.raises(KeyboardInterrupt):
        run(files, files.parent, tmp_path / "run", how, say=quiet)
    before = set(read)
    read.clear()
    monkeypatch.setattr(
        intake, "keep_run", lambda source, sample, *rest: read.append(sample) or original(source, sample, *rest)
    )
    run(files, files.parent, tmp_path / "run", how, say=quiet)
    assert not before & set(read)


class Counts:
    """An embedder: how many peaks below and above 200 Da, and the precursor."""

    def embed(self, frame):
        low = [sum(m < 200 for m in mzs) for mzs in frame["mzs"]]
        high = [sum(m >= 200 for m in mzs) for mzs in frame["mzs"]]
        return np.stack([low, high, frame["precursor_mz"].to_numpy() / 100], axis=1).astype(np.float32)


def test_acquisitions_an_archive_and_an_embedder(files, tmp_path, monkeypatch):
    """Two acquisitions of every sample, asked for each and together, from a tar."""
    from mslitmus.cohort import run as module

    original = module.build
    monkeypatch.setattr(
        module, "build", lambda name, how: Embedding(Counts(), "counts") if name == "c" else original(name, how)
    )
    table = pl.read_csv(files, separator="\t").filter(pl.col("role").is_null())
    table = table.with_columns(
        sample=pl.col("replicate"),
        acquisition=pl.when(pl.col("file").str.contains("_0")).then(pl.lit("A")).otherwise(pl.lit("B")),
    )
    sheet = tmp_path / "two.tsv"
    table.select("file", "sample", "acquisition", "group").write_csv(sheet, separator="\t")
    with tarfile.open(tmp_path / "runs.tar.gz", "w:gz") as archive:
        archive.add(files.parent, "runs")
    how = HOW.model_copy(
        update={
            "targets": (),
            "representations": ("precursor-histogram", "c"),
            "permutations": 3,
        }
    )
    found = run(sheet, tmp_path / "runs.tar.gz", tmp_path / "run", how, say=quiet)
    assert found.results["acquisition"].unique().sort().to_list() == ["A", "B", TOGETHER]
    assert found.results.filter(representation="counts", aggregation="kmeans").height > 0
    predictions = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert predictions["acquisition"].n_unique() == 3
    assert not list((tmp_path / "run").glob(".unpacked-*"))


def test_what_cannot_be_is_said_before_work(files, tmp_path):
    with pytest.raises(DataError, match="are not there"):
        run(files, tmp_path, tmp_path / "run", HOW, say=quiet)
    with pytest.raises(FormatError, match="no such folder"):
        run(files, tmp_path / "absent", tmp_path / "run", HOW, say=quiet)


@pytest.mark.parametrize(("p", "word"), [(0.5, "is not clearly better than"), (0.005, "beats"), (None, "beats")])
def test_nothing_beats_the_baseline_by_chance(p, word, tmp_path):
    """A difference between two that tell nothing is no merit."""
    what = {"question": "regression", "target": "dose", "acquisition": "all", "representation": "x", "metric": "r2"}
    answer = {**what, "aggregation": "chosen", "value": -0.5, "seed": "all", "p_permutation": p}
    gain = {**what, "against": "precursor-histogram", "difference": 0.1, "low": 0.05, "high": 0.2}
    tables = {"results": [answer], "comparisons": [gain], "leaders": []}
    done = Finished(tmp_path, *(table(rows, TABLES[name]) for name, rows in tables.items()), (), 0.0)
    assert f"dose: x {word} precursor-histogram" in _verdicts(done)[0]


def test_umap_is_the_same_twice():
    pytest.importorskip("umap")
    x = np.random.default_rng(0).normal(size=(20, 3))
    x[10:] += 20
    distance = np.linalg.norm(x[:, None] - x[None, :], axis=-1)
    first, method = layout.coordinates(distance, 0)
    assert method == "umap"
    assert (first == layout.coordinates(distance, 0)[0]).all()


def test_the_command(files, tmp_path, monkeypatch, capsys):
    import sys

    from mslitmus.cli import main

    out = tmp_path / "run"
    arguments = ["cohort", files, "--data", files.parent, "--target", "group", "--permutations", 3, "--seeds", 1]
    more = ["-r", "precursor-histogram", "--splits", "holdout", "--learner", "logistic", "--out", out]
    monkeypatch.setattr(sys, "argv", ["mslitmus", *map(str, [*arguments, *more])])
    with pytest.raises(SystemExit) as ended:
        main()
    text, err = capsys.readouterr()
    assert (ended.value.code or 0) == 0, err
    assert "macro-f1" in text
    assert str(out.name) in text
    predictions = pl.read_parquet(out / "predictions.parquet")
    assert predictions["probability"].is_between(0, 1).all()
    assert predictions.height == 8  # two of six subjects of each class
    monkeypatch.setattr(sys, "argv", ["mslitmus", *map(str, [*arguments, "-r", "fragmens"])])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "did you mean 'fragments'" in capsys.readouterr().err
