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
from mslitmus.errors import ConfigError, DataError, FormatError, MslitmusError, RunError

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
    assert not any("batches" in note for note in config["notes"])  # there is one


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


def lines(path, *rows):
    path.write_text("".join("\t".join(row.split()) + "\n" for row in rows))
    return path


SMALL = HOW.model_copy(update={"targets": (), "representations": ("precursor-histogram",), "permutations": 3})


def test_one_sample_answers_nothing_and_breaks_nothing(files, tmp_path):
    sheet = lines(tmp_path / "one.tsv", "file", "s00_0.mgf")
    found = run(sheet, files.parent, tmp_path / "run", SMALL, say=quiet)
    assert found.results.is_empty()
    assert any("no target" in note for note in found.notes)
    assert pl.read_parquet(tmp_path / "run" / "leaders.parquet").is_empty()


def test_files_that_hold_nothing(files, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("s00_0.mgf", "s01_0.mgf"):
        (data / name).write_bytes((files.parent / name).read_bytes())
    (data / "none.mgf").write_text("")
    sheet = lines(tmp_path / "bad.tsv", "file", "s00_0.mgf", "none.mgf")
    with pytest.raises(MslitmusError, match="none") as caught:
        run(sheet, data, tmp_path / "run", SMALL, say=quiet)
    assert "take its row out of the sheet" in caught.value.remedy
    (data / "none.mgf").write_text("BEGIN IONS\nPEPMASS=100\nMSLEVEL=1\n50 1\nEND IONS\n")
    sheet = lines(tmp_path / "blank.tsv", "file role", "s00_0.mgf sample", "s01_0.mgf sample", "none.mgf blank")
    found = run(sheet, data, tmp_path / "run", SMALL, say=quiet)
    assert "none: no MS/MS spectrum" in found.notes
    with pytest.raises(RunError, match="cannot be written"):
        run(sheet, data, sheet, SMALL, say=quiet)


def test_embedders_never_share_a_kept_vector(tmp_path):
    """Other weights, other options, another file of the same name elsewhere, another state: another identity."""

    def identity(model, name="e"):
        return Embedding(model, name).identity()

    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    (folder / "weights.pt").write_bytes(b"1")
    (folder / "a" / "x.json").write_text("1")
    (folder / "b" / "x.json").write_text("2")
    seen = [identity(folder)]
    assert identity(str(folder)) == seen[0]
    (folder / "weights.pt").write_bytes(b"2")
    seen.append(identity(folder))
    (folder / "a" / "x.json").write_text("2")
    (folder / "b" / "x.json").write_text("1")
    seen.append(identity(folder))
    one, other = Counts(), Counts()
    assert identity(one) == identity(other)
    other.scale = 2
    seen += [identity(one), identity(other)]
    one.made = lambda: 0  # nothing that can be written down
    seen += [identity(one), identity(other), identity(one)]
    assert len({json.dumps(each, sort_keys=True) for each in seen}) == len(seen) - 1  # `other` twice


def test_a_changed_file_or_embedder_is_embedded_anew(files, tmp_path, monkeypatch):
    from mslitmus.cohort import intake
    from mslitmus.cohort import run as module

    data = tmp_path / "data"
    data.mkdir()
    for name in ("s00_0.mgf", "s01_0.mgf"):
        (data / name).write_bytes((files.parent / name).read_bytes())
    sheet = lines(tmp_path / "two.tsv", "file", "s00_0.mgf", "s01_0.mgf")
    model = Counts()
    monkeypatch.setattr(module, "build", lambda name, how: Embedding(model, "counts"))
    pooled = []
    original = intake.summarise
    monkeypatch.setattr(intake, "summarise", lambda *a: pooled.append(a[1]["identifier"][0][:6]) or original(*a))

    def again():
        pooled.clear()
        run(sheet, data, tmp_path / "run", SMALL, say=quiet)
        return pooled

    assert len(again()) == 2
    assert again() == []
    (data / "s01_0.mgf").write_bytes((files.parent / "s03_0.mgf").read_bytes())
    assert again() == ["s01_0:"]
    model.scale = 2
    assert len(again()) == 2


@pytest.mark.parametrize("name", ["precursor-histogram", "a/b"])
def test_a_model_cannot_take_a_name_that_means_something_else(name, tmp_path):
    from mslitmus.cohort.run import build

    with pytest.raises(ConfigError, match="a model cannot be called"):
        build(f"{name}={tmp_path}", HOW)


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
