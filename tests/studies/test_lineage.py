"""What a model met on its way: written with each fitted model, walked through weights, simulations and predictors."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from mslitmus import lineage
from mslitmus.audits.evidence import CellKey
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError
from mslitmus.lineage import Ancestor, Origin, ancestors, comes_from, hash_of, named
from mslitmus.studies import runner
from mslitmus.studies.cells import _simulations
from mslitmus.studies.config import DataConfig, StudyConfig
from mslitmus.studies.evidence import evidence_of
from mslitmus.studies.files import load
from mslitmus.studies.held_out import held_out
from mslitmus.studies.selection import select

ASKING = """
name: asking
data: {name: made}
splits: [molecule, scaffold]
models: [precursor-only]
metrics: [cosine@0.1Da]
"""


def model(folder: Path, learned: list[str], *origins: tuple[str, Path]) -> Path:
    folder.mkdir(parents=True)
    lineage.write(folder, pl.Series(learned, dtype=pl.String), [Origin(what, str(path)) for what, path in origins])
    return folder


def told(found: list[Ancestor]) -> dict[str, list[str] | None]:
    """Last step of each name → keys."""
    return {each.name.split(" ← ")[-1].split()[0]: _keys(each) for each in found}


def _keys(each: Ancestor) -> list[str] | None:
    return None if each.molecules is None else each.molecules["inchikey14"].to_list()


def of(path: Path) -> list[Ancestor]:
    return ancestors(Origin("weights", str(path)))


def simulated(folder: Path, predictor: Path) -> Path:
    folder.mkdir()
    (folder / "simulation.json").write_text("{}")
    lineage.write(folder, None, [Origin("predictor", str(predictor))])
    return folder


def test_a_chain_is_walked_to_its_end(tmp_path: Path):
    (tmp_path / "molecules").mkdir()
    pl.DataFrame({"inchikey14": ["D"]}).write_parquet(tmp_path / "molecules" / "molecules.parquet")
    (tmp_path / "molecules" / "pretraining.json").write_text(json.dumps({"asked": {"held_out": {"data_hash": "d"}}}))
    predictor = model(tmp_path / "run" / "seed0" / "model", ["B", "A", "A"])
    simulation = simulated(tmp_path / "simulated", predictor.parent)  # the cell's folder: its record is in `model`
    origins = [("simulation", simulation), ("pretrained", tmp_path / "molecules")]
    generator = model(tmp_path / "generator", ["C"], *origins)
    found = of(generator)
    assert told(found) == {"weights": ["C"], "predictor": ["A", "B"], "pretrained": ["D"]}
    assert [each.excluded for each in found] == [None, None, {"data_hash": "d"}]
    assert found[1].name == f"weights {generator} ← simulation {simulation} ← predictor {predictor.parent}"
    assert found[1].folder == predictor


def test_a_folder_that_was_filled_anew_says_nothing_of_what_came_before(tmp_path: Path):
    predictor = model(tmp_path / "predictor", ["TEST"])
    generator = model(tmp_path / "generator", ["C"], ("simulation", simulated(tmp_path / "simulated", predictor)))
    assert told(of(generator)) == {"weights": ["C"], "predictor": ["TEST"]}
    lineage.write(predictor, pl.Series(["OTHER"]), [])
    assert told(of(generator)) == {"weights": ["C"], "predictor": None}
    assert "not there as it was" in of(generator)[1].name


def test_a_run_that_is_moved_takes_its_rows_with_it(tmp_path: Path):
    parent = model(tmp_path / "run" / "parent" / "model", ["A"])
    model(tmp_path / "run" / "child" / "model", ["B"], ("row", parent))
    (tmp_path / "run").rename(tmp_path / "moved")
    (origin,) = comes_from(tmp_path / "moved" / "child" / "model")
    assert [_keys(each) for each in ancestors(origin)] == [["A"]]


def test_spectra_come_from_whoever_answered_when_they_were_imported(tmp_path: Path):
    simulation = simulated(tmp_path / "simulated", model(tmp_path / "leaky", ["TEST"]))
    imported = {"sources": [{"path": "x", "simulation": str(simulation), "simulation_hash": hash_of(str(simulation))}]}
    (origin,) = _simulations(imported)
    assert told(ancestors(origin)) == {"predictor": ["TEST"]}
    lineage.write(simulation, None, [Origin("predictor", str(model(tmp_path / "clean", ["OTHER"])))])
    assert told(ancestors(origin)) == {"simulation": None}
    assert _simulations({"simulated": True, "sources": [{"path": "x"}]}) == [Origin("simulation", "x")]
    assert _simulations({"simulated": True}) == _simulations({"sources": [{"path": "x"}]}) == []  # made here; measured


def test_what_nobody_tells_and_circles(tmp_path: Path):
    assert [each.molecules for each in of(tmp_path / "absent.pt")] == [None]
    (tmp_path / "simulation.json").write_text("{")
    assert [each.molecules for each in of(tmp_path)] == [None]
    one, other = model(tmp_path / "one", ["A"]), tmp_path / "other"
    model(other, ["B"], ("row", one))
    (one / lineage.LINEAGE).write_text(json.dumps({"comes_from": [{"what": "row", "path": str(other)}, "odd", 3]}))
    assert told(of(one)) == {"weights": ["A"], "row": ["B"]}
    (one / lineage.LINEAGE).write_text("[]")
    assert told(of(one)) == {"weights": ["A"]}


def test_a_fine_tuning_tells_what_it_started_from(tmp_path: Path):
    start = model(tmp_path / "start", ["S"])
    pl.DataFrame({"inchikey14": ["F"]}).write_parquet(tmp_path / "molecules.parquet")
    (tmp_path / "fine_tuning.json").write_text(json.dumps({"options": {"pretrained": str(start)}}))
    assert told(of(tmp_path)) == {"weights": ["F"], "pretrained": ["S"]}


def test_weights_are_found_however_deep():
    options = {"a": [{"weights": "w"}, {"rerank": {"predictor": "p"}}], "weights": "random", "pretrained": ""}
    assert named(options) == [Origin("weights", "w"), Origin("predictor", "p")]


@pytest.fixture
def asking(tiny: pl.DataFrame, tmp_path: Path) -> Path:
    """A study file of the stored dataset `made`."""
    store.save("made", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "made"})
    path = tmp_path / "asking.yaml"
    path.write_text(ASKING)
    return path


def test_what_another_study_holds_out_takes_no_part(asking: Path):
    study = load(asking)
    data = DataConfig(name="made", held_out_by=str(asking))
    frame, ledger = select(store.load("made"), data, study.build_task())
    unseen = set(held_out([study]).molecules["inchikey14"])
    everything = set(store.load("made").frame()["inchikey14"])
    assert unseen
    assert set(frame["inchikey14"]) == everything - unseen
    entry = next(each for each in ledger.entries if each.rule == "leave_out_held_out")
    assert entry.dropped == entry.rows_in - frame.height > 0


def test_the_other_study_is_found_from_anywhere(asking: Path, monkeypatch: pytest.MonkeyPatch):
    own = asking.with_name("own.yaml")
    own.write_text(ASKING.replace("{name: made}", "{name: made, held_out_by: asking.yaml}"))
    assert load(own).data.held_out_by == str(asking)
    monkeypatch.chdir(asking.parent)
    assert DataConfig(name="made", held_out_by="asking.yaml").held_out_by == str(asking)
    own.write_text(ASKING.replace("{name: made}", "{name: made, held_out_by: no/such.yaml}"))
    with pytest.raises(ConfigError, match="no such file"):
        load(own)


def test_held_out_by_is_written_only_where_it_says_something(asking: Path):
    assert "held_out_by" not in DataConfig(name="made").model_dump()
    other = asking.with_name("other.yaml")
    other.write_text(ASKING.replace("{name: made}", f"{{name: made, held_out_by: {asking}}}"))
    with pytest.raises(ConfigError, match="itself leaves out"):
        select(store.load("made"), DataConfig(name="made", held_out_by=str(other)), load(asking).build_task())


def test_a_run_writes_the_lineage_of_its_models(asking: Path, tmp_path: Path):
    simulated(tmp_path / "simulated", model(tmp_path / "predictor", ["TEST"]))
    made = store.load("made")
    info = {"title": "made", "sources": [{"path": "x", "simulation": str(tmp_path / "simulated")}]}
    store.save("made", made.frame(), made.ledger, info)
    study = StudyConfig.model_validate({**load(asking).model_dump(), "difficulty": False})

    def run() -> Path:
        runner.run(study, tmp_path / "run", progress=lambda line: None)
        return tmp_path / "run" / "cells" / "scaffold" / "precursor-only" / "seed0"

    folder = run() / "model"
    folds = pl.read_parquet(tmp_path / "run" / "splits" / "scaffold.parquet")
    train = folds.filter(fold="train").join(made.frame(), on="identifier")
    own, predictor = of(folder)
    assert (_keys(own), _keys(predictor)) == (sorted(set(train["inchikey14"])), ["TEST"])
    (folder / lineage.LINEAGE).unlink()
    (folder / lineage.TRAINED_ON).unlink()
    assert [_keys(each) for each in of(run())] == [_keys(own), ["TEST"]]  # as of a run by an earlier version
    record = evidence_of(tmp_path / "run").cells[CellKey("scaffold", "precursor-only", 0)]
    assert [each["what"] for each in record["comes_from"]] == ["simulation"]
