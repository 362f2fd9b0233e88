"""The report: a page from files alone, honest about what is missing, deaf to markup in names."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from make_run import KINDS, METRICS, SPLITS, make_run
from outline import outline
from rich.console import Console

from mslitmus.errors import RunError
from mslitmus.report import build, leaderboard_table
from mslitmus.report.build import SECTIONS
from mslitmus.report.finding import headline
from mslitmus.report.folder import read_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "massbank")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "massbank"))


def test_page_is_whole_selfcontained_and_small(run: Path) -> None:
    path = build(run)
    page = path.read_text(encoding="utf-8")
    found = outline(page)
    assert path == run / "report.html"
    assert len(page.encode()) < 3_000_000
    assert found.loads == []
    assert "@import" not in page
    assert "url(" not in page
    assert not re.findall(r"https?://(?!www\.w3\.org|www\.rdkit\.org)", page)
    assert len(found.ids) == len(set(found.ids))
    assert set(found.targets) <= set(found.ids)
    optional = {"disagreements", "candidates", "ranks", "stability", "sensitivity", "operating", "structures"}
    assert {name for name, _ in SECTIONS} - optional <= set(found.ids)
    assert found.unlabelled == 0


def test_a_protocol_brings_its_sheet(run: Path) -> None:
    sheet = pl.read_parquet(run / "examples.parquet").with_columns(rank=pl.lit("1"))
    sheet.write_parquet(run / "disagreements.parquet")
    page = build(run).read_text(encoding="utf-8")
    assert "sheet for an expert" in page
    assert 'id="disagreements"' in page


def test_same_files_same_page(run: Path) -> None:
    first = build(run).read_bytes()
    assert build(run).read_bytes() == first


def test_every_split_metric_and_average_has_its_panel(run: Path) -> None:
    page = build(run).read_text(encoding="utf-8")
    for metric in METRICS:
        for average in ("molecule", "spectrum"):
            panel = f'class="panel" data-metric="{metric}" data-average="{average}"'
            assert page.count(panel) == len(SPLITS)
    assert all(model in page for model in KINDS)
    assert ".412" in page
    assert "[.4" in page


def test_headline_says_the_finding_and_is_chosen_on_validation(run: Path) -> None:
    said = headline(read_run(run))
    assert said is not None
    assert said.lead.startswith("On the scaffold split gin × binned reaches .412 [")
    assert "nearest-molecule, .331: difference +.081 [.070, .092] (Holm p < .001, d = +.34), a gain" in said.lead
    summary = pl.read_parquet(run / "summary.parquet")
    better = pl.when((pl.col("model") == "NEIMS") & (pl.col("fold") == "val")).then(0.99).otherwise(pl.col("mean"))
    summary.with_columns(mean=better).write_parquet(run / "summary.parquet")
    chosen = headline(read_run(run))
    assert chosen is not None
    assert "NEIMS reaches .388" in chosen.lead


def test_headline_admits_a_draw_and_a_loss(run: Path) -> None:
    table = pl.read_parquet(run / "comparisons.parquet")
    table.with_columns(p_holm=pl.lit(0.2)).write_parquet(run / "comparisons.parquet")
    draw = headline(read_run(run))
    assert draw is not None
    assert "does not tell the two apart" in draw.lead
    flipped = [(-pl.col(name)).alias(name) for name in ("difference", "effect_size")]
    flipped += [(-pl.col("high")).alias("low"), (-pl.col("low")).alias("high")]
    table.with_columns(flipped).write_parquet(run / "comparisons.parquet")
    loss = headline(read_run(run))
    assert loss is not None
    assert "difference −.081 [−.092, −.070]" in loss.lead
    assert "a loss against the trivial model" in loss.lead


def test_simulated_data_are_badged(tmp_path: Path, run: Path) -> None:
    page = build(make_run(tmp_path / "sim", simulated=True)).read_text(encoding="utf-8")
    assert "SIMULATED DATA" in page
    assert "SIMULATED DATA" not in build(run).read_text(encoding="utf-8")


OPTIONAL = (
    "provenance.json", "dataset.json", "ledger.json", "findings.json", "summary.parquet", "comparisons.parquet",
    "strata.parquet", "examples.parquet", "config.yaml",
)  # fmt: skip


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_absent_file_is_named_in_its_section(run: Path, name: str) -> None:
    (run / name).unlink()
    page = build(run).read_text(encoding="utf-8")
    outline(page)
    assert f"<code>{name}</code> is not in this run folder" in page
    assert "mslitmus run CONFIG.yaml" in page


def test_a_run_that_has_only_begun_still_gives_a_page(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: begun\n", encoding="utf-8")
    page = build(tmp_path).read_text(encoding="utf-8")
    outline(page)
    assert "No model has been scored" in page


@pytest.mark.parametrize("name", [*OPTIONAL, "splits/scaffold.json", "cells/scaffold/NEIMS/seed0/cell.json"])
def test_a_damaged_file_is_an_error_that_names_it(run: Path, name: str) -> None:
    (run / name).write_bytes(b"\xff\xfe{ broken: [")
    with pytest.raises(RunError) as caught:
        build(run)
    assert name in str(caught.value)
    assert caught.value.remedy
    assert not (run / "report.html").exists()


def test_json_of_another_shape_and_tables_without_columns_are_errors(run: Path) -> None:
    (run / "ledger.json").write_text('{"entries": 3}', encoding="utf-8")
    with pytest.raises(RunError, match="ledger"):
        build(run)
    (run / "ledger.json").unlink()
    pl.read_parquet(run / "summary.parquet").drop("mean").write_parquet(run / "summary.parquet")
    with pytest.raises(RunError, match="mean"):
        build(run)


def test_no_run_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        build(tmp_path / "nowhere")
    with pytest.raises(RunError, match="not a run folder"):
        build(tmp_path)


def test_markup_in_names_is_text(run: Path) -> None:
    evil = '<script>alert("x")</script>'
    for name in ("summary", "strata"):
        table = pl.read_parquet(run / f"{name}.parquet")
        table.with_columns(pl.col("model").replace({"NEIMS": evil})).write_parquet(run / f"{name}.parquet")
    examples = pl.read_parquet(run / "examples.parquet")
    examples.with_columns(name=pl.lit(evil), identifier=pl.lit(f'"{evil}')).write_parquet(run / "examples.parquet")
    for name, key in (("ledger", "note"), ("findings", "claim")):
        value = json.loads((run / f"{name}.json").read_text())
        value[0][key] = evil
        (run / f"{name}.json").write_text(json.dumps(value))
    (run / "config.yaml").write_text(f"title: '{evil}'\nprimary_metric: cosine@0.01Da\n", encoding="utf-8")
    page = build(run).read_text(encoding="utf-8")
    outline(page)
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert "&lt;script&gt;" in page


def test_nulls_and_empty_predictions_are_drawn_as_such(run: Path) -> None:
    summary = pl.read_parquet(run / "summary.parquet")
    gone = [pl.lit(None, dtype=pl.Float64).alias(c) for c in ("low", "high", "bound", "skill_blind", "skill_neighbour")]
    summary.with_columns(gone).write_parquet(run / "summary.parquet")
    examples = pl.read_parquet(run / "examples.parquet")
    nothing = [pl.lit([], dtype=pl.List(pl.Float64)).alias("predicted_mzs")]
    nothing += [pl.lit([], dtype=pl.List(pl.Float64)).alias("predicted_intensities")]
    examples.with_columns(*nothing, smiles=pl.lit("not a SMILES")).write_parquet(run / "examples.parquet")
    split = json.loads((run / "splits" / "scaffold.json").read_text())
    split["difficulty"] = {"overlap": None, "ks": {"mass": {"statistic": None}}, "nearest_train": {"histogram": None}}
    (run / "splits" / "scaffold.json").write_text(json.dumps(split))
    page = build(run).read_text(encoding="utf-8")
    outline(page)
    assert "no peak predicted" in page
    assert "<code>not a SMILES</code>" in page


def test_seeds_without_a_pooled_row_are_averaged(run: Path) -> None:
    summary = pl.read_parquet(run / "summary.parquet")
    summary.filter(pl.col("seed").is_not_null()).write_parquet(run / "summary.parquet")
    page = build(run).read_text(encoding="utf-8")
    assert "3 seeds, .400 to .424" in page
    assert ".412" in page


@pytest.mark.parametrize("width", [100, 84])
def test_terminal_table_fits(run: Path, width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(leaderboard_table(run))
    text = console.export_text()
    console.file.close()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "gin × binned" in text
    assert ".412" in text
    assert "[.4" in text
    assert "11,204/1,312" in text


def test_terminal_without_scores_is_an_error(run: Path) -> None:
    (run / "summary.parquet").unlink()
    with pytest.raises(RunError, match="no scores yet"):
        leaderboard_table(run)


def test_a_metric_without_direction_gets_no_winner(run: Path) -> None:
    for name in ("summary", "comparisons"):
        table = pl.read_parquet(run / f"{name}.parquet")
        renamed = pl.col("metric").replace({METRICS[2]: "predicted-entropy"})
        table.with_columns(renamed).write_parquet(run / f"{name}.parquet")
    page = build(run).read_text(encoding="utf-8")
    panel = page.split('data-metric="predicted-entropy" data-average="molecule"')[1].split("</table>")[0]
    assert "neither high nor low is better" in panel
    assert "best trivial model" not in panel
    matrix = page.split('<div class="panel" data-metric="predicted-entropy" hidden')[1].split("</table>")[0]
    assert "gain" not in matrix
    assert "loss" not in matrix


def test_what_left_the_study_leaves_the_page(tmp_path):
    run = make_run(tmp_path / "run")
    kept = pl.read_parquet(run / "summary.parquet")
    gone, split = sorted(KINDS)[0], SPLITS[0]
    kept.filter((pl.col("model") != gone) & (pl.col("split") == split)).write_parquet(run / "summary.parquet")
    files = read_run(run)
    assert gone not in {cell["model"] for cell in files.cells}
    assert files.split_names == [split]
    (run / "summary.parquet").unlink()
    assert gone in {cell["model"] for cell in read_run(run).cells}  # before the first summary everything shows


def test_the_bound_says_what_it_is(tmp_path):
    run = make_run(tmp_path / "run")
    assert "replicates from another laboratory for" not in build(run).read_text()
    ceiling = {"metric": METRICS[0], "spectrum": 0.76, "molecule": 0.76, "n_queries": 162, "n_molecules": 20}
    (run / "bounds.json").write_text(json.dumps({SPLITS[0]: {METRICS[0]: ceiling}, SPLITS[1]: {}}))
    page = build(run).read_text()
    assert "what replicates from another laboratory reach; 162 spectra of 20 molecules have one" in page
    assert "too few replicates from another laboratory for a ceiling" in page
