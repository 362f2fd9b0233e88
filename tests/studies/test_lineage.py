"""What a model met on its way: written with each fitted model, walked through weights, simulations and predictors."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from mslitmus import lineage
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError
from mslitmus.lineage import ancestors, named
from mslitmus.studies import runner
from mslitmus.studies.config import DataConfig, StudyConfig
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
    lineage.write(folder, pl.Series(learned, dtype=pl.String), [(what, str(path)) for what, path in origins])
    return folder


def told(found: list[lineage.Ancestor]) -> dict[str, list[str] | None]:
    """Last step of each name → keys."""
    return {each.name.split(" ← ")[-1].split()[0]: _keys(each) for each in found}


def _keys(each: lineage.Ancestor) -> list[str] | None:
    return None if each.molecules is None else each.molecules["inchikey14"].to_list()


def test_a_chain_is_walked_to_its_end(tmp_path: Path):
    (tmp_path / "molecules").mkdir()
    pl.DataFrame({"inchikey14": ["D"]}).write_parquet(tmp_path / "molecules" / "molecules.parquet")
    (tmp_path / "molecules" / "pretraining.json").write_text(json.dumps({"asked": {"held_out": {"data_hash": "d"}}}))
    predictor = model(tmp_path / "predictor", ["B", "A", "A"])
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated" / "simulation.json").write_text(json.dumps({"predictor": str(predictor)}))
    origins = [("simulation", tmp_path / "simulated"), ("pretrained", tmp_path / "molecules")]
    generator = model(tmp_path / "generator", ["C"], *origins)
    found = ancestors("weights", str(generator))
    assert told(found) == {"weights": ["C"], "predictor": ["A", "B"], "pretrained": ["D"]}
    assert [each.excluded for each in found] == [None, None, {"data_hash": "d"}]
    through = f"weights {generator} ← simulation {tmp_path / 'simulated'} ← predictor {predictor}"
    assert found[1].name == through


def test_what_nobody_tells_and_circles(tmp_path: Path):
    assert [each.molecules for each in ancestors("weights", str(tmp_path / "absent.pt"))] == [None]
    (tmp_path / "simulation.json").write_text("{")
    assert [each.molecules for each in ancestors("simulation", str(tmp_path))] == [None]
    one = model(tmp_path / "one", ["A"], ("row", tmp_path / "other"))
    model(tmp_path / "other", ["B"], ("row", one))
    assert told(ancestors("weights", str(one))) == {"weights": ["A"], "row": ["B"]}
    (one / lineage.LINEAGE).write_text("[]")
    assert told(ancestors("weights", str(one))) == {"weights": ["A"]}


def test_weights_are_found_however_deep():
    options = {"a": [{"weights": "w"}, {"rerank": {"predictor": "p"}}], "weights": "random", "pretrained": "w2"}
    assert named(options) == [("weights", "w"), ("predictor", "p"), ("pretrained", "w2")]


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


def test_held_out_by_is_written_only_where_it_says_something(asking: Path):
    assert "held_out_by" not in DataConfig(name="made").model_dump()
    assert DataConfig(name="made", held_out_by="x").model_dump()["held_out_by"] == "x"
    task = load(asking).build_task()
    with pytest.raises(ConfigError, match="no such file"):
        select(store.load("made"), DataConfig(name="made", held_out_by="no/such.yaml"), task)
    asking.write_text(ASKING.replace("{name: made}", f"{{name: made, held_out_by: {asking}}}"))
    with pytest.raises(ConfigError, match="itself leaves out"):
        select(store.load("made"), DataConfig(name="made", held_out_by=str(asking)), task)


def test_a_run_writes_the_lineage_of_its_models(asking: Path, tmp_path: Path):
    study = StudyConfig.model_validate({**load(asking).model_dump(), "difficulty": False})
    runner.run(study, tmp_path / "run", progress=lambda line: None)
    folder = next((tmp_path / "run").glob("cells/scaffold/*/seed0/model"))
    folds = pl.read_parquet(tmp_path / "run" / "splits" / "scaffold.parquet")
    train = folds.filter(fold="train").join(store.load("made").frame(), on="identifier")
    (met,) = ancestors("predictor", str(folder))
    assert met.molecules is not None
    assert met.molecules["inchikey14"].to_list() == sorted(set(train["inchikey14"]))
