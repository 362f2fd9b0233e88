"""MassSpecGym from its files to scores: TSV, published folds, candidates repaired and as published."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from typer.testing import CliRunner

from mslitmus.cli.app import app
from mslitmus.data import importer, store
from mslitmus.data.candidates import candidate_set
from mslitmus.referee.submission import submission
from mslitmus.spectra import formats
from mslitmus.studies.config import DataConfig
from mslitmus.studies.files import load
from mslitmus.studies.runner import run
from mslitmus.studies.selection import select
from mslitmus.tasks import TASKS

ROOT = Path(__file__).parents[2]
SIZES = {"train": (24, 6), "val": (8, 3), "test": (12, 4)}


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The generator of the benchmark: what is tested here in little is what is timed there at full size."""
    spec = importlib.util.spec_from_file_location("generated", ROOT / "benchmarks" / "massspecgym.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__name__"] = "generated"
    import sys

    sys.modules["generated"] = module  # where a dataclass looks for its module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gym(made: ModuleType, tmp_path: Path) -> Path:
    made.write_tsv(tmp_path / "MassSpecGym.tsv", SIZES)
    importer.add("massspecgym", [tmp_path / "MassSpecGym.tsv"], as_name="gym")
    return tmp_path


def invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def pools(gym: Path, made: ModuleType) -> dict[str, list[str]]:
    """Eight candidates a held-out molecule: the truth first and in its own spelling, another one twice."""
    every = [m.smiles for m in made.molecules(sum(n for _, n in SIZES.values()))]
    listed = {}
    for truth in every[SIZES["train"][1] :]:
        others = [s for s in every if s != truth][:6]
        listed[truth] = [truth, *others, others[0]]
    (gym / "candidates_mass.json").write_text(json.dumps(listed))
    return listed


def test_every_row_with_its_published_columns(gym):
    frame = store.load("gym").frame()
    assert frame.height == 44
    assert dict(frame["fold"].value_counts().iter_rows()) == {fold: n for fold, (n, _) in SIZES.items()}
    assert frame["simulation_challenge"].null_count() == 0
    assert frame["collision_energy_kind"].unique().to_list() == ["eV"]
    assert frame["inchikey14"].str.len_chars().unique().to_list() == [14]
    chosen, _ = select(store.load("gym"), DataConfig(name="gym", simulation_challenge=True), TASKS["fingerprint"]())
    assert chosen.height == frame["simulation_challenge"].sum()


def test_repaired_and_published_candidates(gym, made):
    listed = pools(gym, made)
    for mode in ("repaired", "published"):
        arguments = ("--mode", mode, "--dataset", "gym", "--name", mode)
        assert "chance of a hit at 1" in invoke("candidates", "massspecgym", gym / "candidates_mass.json", *arguments)
    repaired, published = candidate_set("repaired"), candidate_set("published")
    assert repaired.sizes()["candidates"].unique().to_list() == [7]
    assert repaired.sizes()["truth"].all()
    assert published.sizes()["candidates"].unique().to_list() == [8]
    first = published.pools.group_by("molecule", maintain_order=True).first()
    assert (first["candidate"] == first["molecule"]).all()
    assert len(repaired.molecules) == len(listed)
    assert set(first["smiles"]) == set(listed)
    assert not set(repaired.pools["smiles"]) & set(listed)  # one spelling for all, theirs no longer tells the truth


def test_from_the_files_to_the_leaderboard(gym, made):
    pools(gym, made)
    invoke("candidates", "massspecgym", gym / "candidates_mass.json", "--name", "gym-mass")
    test = store.load("gym").frame().filter(pl.col("fold") == "test").select("identifier", molecule="inchikey14")
    rows = test.join(candidate_set("gym-mass").pools.select("molecule", "candidate"), on="molecule")
    perfect = rows.with_columns(score=(pl.col("candidate") == pl.col("molecule")).cast(pl.Float64))
    perfect.select("identifier", "candidate", "score").write_parquet(gym / "perfect.parquet")
    constant = perfect.with_columns(score=pl.lit(1.0)).select("identifier", "candidate", "score")
    constant.write_parquet(gym / "constant.parquet")
    study = submission(
        {name: gym / f"{name}.parquet" for name in ("perfect", "constant")},
        "retrieval",
        "gym",
        {"method": "massspecgym"},
        task_options={"candidates": "gym-mass", "min_candidates": 1},
        metrics=["hit@1", "hit@1:optimistic", "mrr"],
        controls="none",
        resamples=100,
        difficulty=False,
    )
    summary = pl.read_parquet(run(study, gym / "run", progress=lambda _: None) / "summary.parquet")
    rows = summary.filter((pl.col("fold") == "test") & (pl.col("average") == "spectrum"))
    means = {(m, k): v for m, k, v in rows.select("model", "metric", "mean").unique().iter_rows()}
    assert means["perfect", "hit@1"] == 1
    assert means["constant", "hit@1"] == pytest.approx(1 / 7, abs=1e-12)
    assert means["constant", "hit@1:optimistic"] == 1  # a scorer that knows nothing, by the rule that favours the truth


def test_scores_of_candidates_as_published(gym, made):
    """Repeats are candidates of their own there, so scores in the shown order are read as they stand."""
    pools(gym, made)
    arguments = ("--mode", "published", "--name", "published")
    invoke("candidates", "massspecgym", gym / "candidates_mass.json", *arguments)
    at = ("--task", "retrieval", "--dataset", "gym", "--split", "massspecgym")
    options = ("--task-options", "{candidates: published, min_candidates: 1}")
    invoke("template", gym / "queries.parquet", *at, *options)
    asked = pl.read_parquet(gym / "queries.parquet")
    assert asked["candidates"].list.last().str.ends_with("#2").all()
    answer = asked.select(
        "identifier", scores=pl.col("candidates").list.eval(-pl.element().cum_count().cast(pl.Float64))
    )
    answer.write_parquet(gym / "first.parquet")
    metrics = ("--metric", "hit@1", "--metric", "mrr", "--controls", "none", "--no-difficulty", "--resamples", "100")
    invoke("score", gym / "first.parquet", *at, *options, *metrics, "--out", gym / "runs")
    summary = pl.read_parquet(gym / "runs" / "score-first" / "summary.parquet")
    assert summary.filter(pl.col("metric") == "hit@1")["mean"].unique().to_list() == [1.0]  # the truth stands first


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("massspecgym*.yaml")), ids=lambda p: p.stem)
def test_its_studies_are_read(path):
    pytest.importorskip("torch", reason="a study is checked with its models, and some need torch")
    study = load(path)
    assert study.data.name == "massspecgym"
    assert study.splits[0].method == "massspecgym"


@pytest.mark.real
def test_their_example(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Five spectra with candidates and folds, as their own tests use them."""
    frame = formats.read(real_data("readers/example_5_spectra.mgf")).frame
    folds = pl.read_csv(real_data("readers/example_5_spectra_split.tsv"), separator="\t", infer_schema=False)
    assert frame["identifier"].to_list() == folds["identifier"].to_list()
    importer.add("massspecgym", [real_data("readers/example_5_spectra.mgf")], as_name="five")
    five = store.load("five").frame()
    assert five.height == 5
    source = real_data("readers/example_5_spectra_candidates.json")
    invoke("candidates", "massspecgym", source, "--name", "five-mass")
    invoke("candidates", "massspecgym", source, "--name", "five-published", "--mode", "published")
    repaired, published = candidate_set("five-mass"), candidate_set("five-published")
    assert set(repaired.molecules) == set(five["inchikey14"])
    last = published.pools.group_by("molecule", maintain_order=True).last()
    assert (last["candidate"] == last["molecule"]).all()  # one position for all truths: here the last
    assert repaired.sizes()["candidates"].sum() == published.sizes()["candidates"].sum() == 712
