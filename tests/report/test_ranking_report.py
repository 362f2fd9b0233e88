"""The page of a ranking study: candidates, skips, oracle, metrics of which less is better, seeds, examples."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from make_ranking_run import SKIPS, candidates, make_ranking_run
from outline import outline
from rich.console import Console

from mslitmus.errors import RunError
from mslitmus.report import build, leaderboard_table
from mslitmus.report.board import board, chosen
from mslitmus.report.candidates import curves, pools
from mslitmus.report.comparing import matrices, repeats
from mslitmus.report.examples import examples
from mslitmus.report.folder import read_run
from mslitmus.report.leaderboard import leaderboard
from mslitmus.report.strata import strata


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ranking_run(tmp_path_factory.mktemp("runs") / "ranking")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "ranking"))


def test_the_page_is_whole_and_names_what_it_shows(run: Path) -> None:
    page = build(run).read_text(encoding="utf-8")
    found = outline(page)
    assert found.loads == []
    assert found.unlabelled == 0
    assert len(found.ids) == len(set(found.ids))
    assert set(found.targets) <= set(found.ids)
    assert "candidates" in found.ids
    assert "Mirror" not in page
    assert "ranks the candidate molecules" in page
    assert "replicates from another laboratory" not in page  # a bound of spectra, not of rankings
    assert build(run).read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    "name", ["candidates.json", "pool_sizes.parquet", "worst_groups.parquet", "repeated.parquet", "scores.parquet"]
)
def test_runs_of_earlier_versions_still_give_a_page(run: Path, name: str) -> None:
    (run / name).unlink()
    page = build(run).read_text(encoding="utf-8")
    outline(page)
    if name in ("candidates.json", "pool_sizes.parquet"):
        assert f"<code>{name}</code> is not in this run folder" in page


@pytest.mark.parametrize(
    "name", ["candidates.json", "pool_sizes.parquet", "worst_groups.parquet", "repeated.parquet", "scores.parquet"]
)
def test_a_damaged_file_is_named(run: Path, name: str) -> None:
    (run / name).write_bytes(b"\xff\xfe{ broken")
    with pytest.raises(RunError, match=re.escape(name)):
        build(run)


def test_pools_in_words_and_numbers(run: Path) -> None:
    found = pools(read_run(run))
    assert found is not None
    assert "up to 32 candidates of the truth’s mass (within 10 ppm)" in found.sentence
    assert "from the dataset’s own molecules and pubchem-100k" in found.sentence
    assert "made-up molecules of the same formula (decoys)" in found.sentence
    assert found.asked
    (group,) = found.groups
    assert group.name == "molecule split: 120 spectra of 60 molecules are asked"
    assert group.left_out == "9 spectra of 4 molecules left out: fewer than 8 candidates"
    rows = dict(group.rows)
    assert rows["all candidates"] == ("29", "32", "32", "32", "32", "60 (100 %)", ".033")
    assert rows["without decoys"] == ("2", "5", "8", "17", "30", "33 (55 %)", ".120")
    assert found.origins[0] == ("decoys, edited", (("72.1 %", "1,370"),))
    assert found.origins[1] == ("the dataset’s own molecules", (("20 %", "380"),))
    assert found.judge is None


def test_a_run_that_did_not_tell_its_test_queries_apart_says_so(run: Path) -> None:
    record = {key: value for key, value in candidates().items() if key != "asked"}
    (run / "candidates.json").write_text(json.dumps(record))
    found = pools(read_run(run))
    assert found is not None
    assert not found.asked
    (group,) = found.groups
    assert group.name == "All 120 pools of the run"
    assert dict(group.rows)["all candidates"] == ("30", "32", "32", "32", "32", "120 (100 %)", ".032")
    assert "did not record the pools of its test queries apart" in build(run).read_text(encoding="utf-8")


def test_nothing_left_out_is_said(run: Path) -> None:
    record = candidates()
    record["asked"]["molecule"]["left_out"] = {"spectra": 0, "molecules": 0}
    (run / "candidates.json").write_text(json.dumps(record))
    found = pools(read_run(run))
    assert found is not None
    assert found.groups[0].left_out == "none left out: every pool has 8 candidates or more"


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        (0.534, "an AUC of .534; .5 means"),
        ({"auc": 0.61, "low": 0.58, "high": 0.64, "auc_decoys": 0.62, "auc_real": 0.5},
         "an AUC of .610 [.580, .640] (.620 against decoys, .500 against other real molecules); .5 means"),
        ({"auc": None}, None),
    ],
)  # fmt: skip
def test_what_structures_alone_tell(run: Path, judged: object, said: str | None) -> None:
    (run / "candidates.json").write_text(json.dumps(candidates() | {"structure_auc": judged}))
    found = pools(read_run(run))
    assert found is not None
    assert (said is None) == (found.judge is None)
    assert said is None or said in str(found.judge)
    outline(build(run).read_text(encoding="utf-8"))


def test_a_bare_record_of_candidates_shows_dashes(run: Path) -> None:
    (run / "candidates.json").write_text('{"kind": "formula"}')
    found = pools(read_run(run))
    assert found is not None
    assert "of the truth’s formula" in found.sentence
    outline(build(run).read_text(encoding="utf-8"))


def test_curves_over_pool_size(run: Path) -> None:
    (curve,) = curves(read_run(run))
    assert curve.sizes == ("2", "4", "8", "16", "32")
    assert dict(curve.rows)["chance"] == (".500", ".250", ".125", ".062", ".031")
    for css in ("trained", "control", "oracle", "chance"):
        assert f'class="size-line {css}' in curve.chart
    assert ">chance</text>" in curve.chart
    assert ">random-ranking</text>" not in curve.chart  # of the controls only the best is named


def test_skips_are_marked_and_the_headline_move_is_shown(run: Path) -> None:
    files = read_run(run)
    entries = {e.model: e for e in board(files, "molecule", "hit@1", "molecule")}
    skipping = entries[SKIPS]
    assert skipping.partial
    assert skipping.answered is not None
    assert skipping.mean is not None
    assert skipping.answered > skipping.mean
    scores = pl.read_parquet(run / "scores.parquet").filter((pl.col("model") == SKIPS) & (pl.col("fold") == "test"))
    kept = scores.filter("predicted").group_by("inchikey14").agg(pl.col("hit@1").mean())["hit@1"].mean()
    assert skipping.answered == pytest.approx(kept)
    assert all(e.answered is None for name, e in entries.items() if name != SKIPS)
    page = build(run).read_text(encoding="utf-8")
    assert "over the answered" in page
    findings = json.loads((run / "findings.json").read_text())
    said = next(f["evidence"] for f in findings if f["audit"] == "denominators")
    assert f"over the answered alone {skipping.answered:.3f}" in said


def test_the_oracle_is_a_rung_and_no_rival(run: Path) -> None:
    files = read_run(run)
    panel = leaderboard(files, "molecule")[0]
    assert [group.kind for group in panel.groups] == ["trained", "neighbour", "blind", "oracle"]
    assert [row.entry.model for row in panel.rows_of("trained")] == ["binned-mlp"]
    assert [(row.entry.model, row.letters) for row in panel.rows_of("oracle")] == [("best-molecule", "")]
    assert all(row.letters for row in panel.rows_of("neighbour", "blind"))
    best = chosen(files, "molecule", "hit@1", "molecule", control=True)
    assert best is not None
    assert best.model != "best-molecule"
    (matrix, _) = matrices(files, "molecule")
    assert "best-molecule" not in {*matrix.columns, *(name for name, _ in matrix.rows)}
    assert "best-molecule" not in {
        model for table in repeats(files, "molecule") for r in table.rows for model in r.models
    }
    page = build(run).read_text(encoding="utf-8")
    bounds = page.split('<tbody class="bounds-body stick">')[1].split("</tbody>")[0]
    assert "best-molecule" in bounds
    assert "bound of the task" in bounds
    assert '<span class="kind oracle">oracle</span>' in page  # above its column of strata


def test_a_run_of_one_model_speaks_of_no_controls(run: Path) -> None:
    for name in ("summary", "strata", "pool_sizes"):
        table = pl.read_parquet(run / f"{name}.parquet").filter(pl.col("model") == "binned-mlp")
        if name == "summary":
            gone = [pl.lit(None, dtype=pl.Float64).alias(column) for column in ("skill_blind", "skill_neighbour")]
            table = table.filter(pl.col("fold") == "test").with_columns(gone)
        table.write_parquet(run / f"{name}.parquet")
    for name in ("comparisons", "repeated", "worst_groups"):
        table = pl.read_parquet(run / f"{name}.parquet")
        table.clear().write_parquet(run / f"{name}.parquet")
    page = build(run).read_text(encoding="utf-8")
    outline(page)
    text = re.sub(r"<[^>]+>", " ", page.split("<main")[1].split("Findings")[0])
    for word in ("control", "dashed", "Skill", "oracle", "Paired comparisons"):
        assert word not in text.split("Split difficulty")[0], word
    assert "Training" not in re.findall(r"<h2[^>]*>([^<]*)", page)
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(leaderboard_table(run))
    said = console.export_text()
    console.file.close()
    assert "kill" not in said
    assert "controls" not in said


def test_where_less_is_better(run: Path) -> None:
    files = read_run(run)
    entries = board(files, "molecule", "normalised-rank", "molecule")
    controls = [e.mean for e in entries if not e.trained and e.mean is not None]
    assert controls == sorted(controls)  # best first is lowest first
    assert {e.bound for e in entries} == {0.0}
    matrix = next(m for m in matrices(files, "molecule") if m.metric == "normalised-rank")
    verdicts = {(pair.verdict, pair.difference[0]) for _, pairs in matrix.rows for pair in pairs if pair}
    assert ("gain", "−") in verdicts
    assert ("loss", "−") not in verdicts
    panel = next(p for p in leaderboard(files, "molecule") if p.metric == "normalised-rank")
    assert panel.rows_of("trained")[0].letters == "a"
    assert panel.bound is not None
    assert panel.bound.value == ".000"


def test_many_models_make_a_narrow_matrix(run: Path) -> None:
    matrix = matrices(read_run(run), "molecule")[0]
    assert matrix.turned
    assert matrix.columns[0] == "binned-mlp"
    assert len(matrix.columns) == 2
    shown = sum(pair is not None for _, pairs in matrix.rows for pair in pairs)
    models = 8  # the oracle has no place
    assert shown + matrix.left_out == models * (models - 1) // 2


def test_seeds_are_compared_where_there_are_some(run: Path) -> None:
    (table,) = repeats(read_run(run), "molecule")
    assert table.seeds == "3"
    assert all("binned-mlp" in row.models for row in table.rows)
    gone = [pl.lit(None, dtype=pl.Float64).alias(name) for name in ("low", "high", "p_tukey")]
    pl.read_parquet(run / "repeated.parquet").with_columns(gone).write_parquet(run / "repeated.parquet")
    assert repeats(read_run(run), "molecule") == []
    assert "Over seeds" not in build(run).read_text(encoding="utf-8")


def test_worst_groups(run: Path) -> None:
    (panel,) = strata(read_run(run), "molecule")
    assert panel.worst_strata == ("adduct", "instrument")  # the strata that have more than one level
    assert [form for _, form in panel.models] == ["trained", "oracle", "control"]
    assert panel.left_out == 6
    name, trained, cells = panel.worst[0]
    assert (name, trained) == ("binned-mlp", True)
    assert all(cell is not None and cell.interval.startswith("[") for cell in cells)
    pl.read_parquet(run / "worst_groups.parquet").clear().write_parquet(run / "worst_groups.parquet")
    assert strata(read_run(run), "molecule")[0].worst == ()


def test_examples_of_a_ranking(run: Path) -> None:
    files = read_run(run)
    ((model, cards),) = examples(files.examples, files, "molecule")
    assert model == "binned-mlp"
    assert [card.place for card in cards] == [
        "truth at rank 1 of 32",
        "truth at rank 3.5 of 32",
        "truth at rank 12.5 of 32",
    ]
    assert [sum(guess.truth for guess in card.guesses) for card in cards] == [1, 1, 0]
    assert [card.truth_below for card in cards] == [False, False, True]
    assert cards[0].guesses[-1].score == "−2"
    page = build(run).read_text(encoding="utf-8")
    assert "no peak predicted" not in page
    assert "truth at rank 12.5 of 32" in page


def test_a_truth_that_its_pool_spells_otherwise_is_found_by_its_rank(run: Path) -> None:
    table = pl.read_parquet(run / "examples.parquet").with_columns(smiles=pl.lit("[Na+].CC(=O)[O-]"))
    table.with_columns(truth_rank=pl.lit(4.0)).write_parquet(run / "examples.parquet")
    files = read_run(run)
    ((_, cards),) = examples(files.examples, files, "molecule")
    assert [guess.place for guess in cards[0].guesses if guess.truth] == [4]
    table.with_columns(truth_rank=pl.lit(2.5)).write_parquet(run / "examples.parquet")  # shared: nobody knows which
    files = read_run(run)
    ((_, cards),) = examples(files.examples, files, "molecule")
    assert cards[0].truth_below


def test_examples_of_fingerprints_and_of_controls_alone(tmp_path: Path) -> None:
    run = make_ranking_run(tmp_path / "run", trained=False)
    files = read_run(run)
    best = chosen(files, "molecule", "hit@1", "molecule", control=True)
    assert best is not None
    ((model, _),) = examples(files.examples, files, "molecule")
    assert model == best.model
    (run / "config.yaml").write_text("name: fp\ntask: fingerprint\nprimary_metric: hit@1\n")
    table = pl.read_parquet(run / "examples.parquet")
    empty = [pl.lit(None, dtype=table.schema[c]).alias(c) for c in ("candidates", "candidate_scores", "truth_rank")]
    table.with_columns(empty).write_parquet(run / "examples.parquet")
    (run / "candidates.json").unlink()
    page = build(run).read_text(encoding="utf-8")
    found = outline(page)
    assert "candidates" not in found.ids
    assert "truth at rank" not in page
    assert "Measured spectrum of Caffeine" in page


@pytest.mark.parametrize("width", [80, 100])
def test_terminal_shows_coverage_and_whole_words(run: Path, width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(leaderboard_table(run))
    text = console.export_text()
    console.file.close()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "cover-" in text
    words = re.sub(r"[\s-]", "", SKIPS)
    names = re.sub(r"[\s-]", "", "".join(line[:20] for line in text.splitlines()))
    assert words in names or SKIPS in text
    assert "…" not in text
    assert "(oracle)" in text
    assert "over those alone its mean is" in re.sub(r"\s+", " ", text)
