"""Engines: the same files from each, in the right order, whatever dies; and the lock that machines share."""

from __future__ import annotations

import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from mslitmus import lock
from mslitmus.cli.app import app
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError, MissingExtraError, ModelError, RunError
from mslitmus.models import MODELS
from mslitmus.studies import runner
from mslitmus.studies.config import StudyConfig
from mslitmus.studies.engines import Processes, Schedule, Serial, engine_of, ray_cluster
from mslitmus.studies.engines.plan import jobs_of
from mslitmus.studies.engines.processes import _environments
from mslitmus.studies.folder import RunFolder

STUDY = {
    "name": "t",
    "data": {"name": "few"},
    "splits": ["random"],
    "models": ["precursor-only", "nearest-molecule"],
    "metrics": ["cosine@0.1Da"],
    "primary_metric": "cosine@0.1Da",
    "difficulty": False,
    "statistics": {"resamples": 100},
    "budget": {"threads": 1, "device": "cpu"},
}
SMALL = {
    "model": "neims",
    "options": {
        "encoder": {"bits": 64, "width": 8, "layers": 1},
        "head": {"width": 10.0, "min_molecules": 1},
        "trunk": {"width": 8, "layers": 1, "dropout": 0.3},
        "training": {"epochs": 2, "batch_size": 32},
    },
}
#: A model that behaves as the file `mood` says, whose text the fit leaves as it is, deletes or waits on.
PLUGIN = """
import os, signal, time
from pathlib import Path
from mslitmus.errors import ModelError
from mslitmus.models.baselines.precursor_only import PrecursorOnly

MOOD = Path(__file__).with_name("mood")

class Moody(PrecursorOnly):
    def fit(self, train, val, context):
        mood = MOOD.read_text() if MOOD.exists() else ""
        if mood == "dies once":
            MOOD.unlink()
        if mood.startswith("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == "fails":
            raise ModelError("no mood for it")
        if mood == "sleeps":
            context.progress(f"pid {os.getpid()}")
            time.sleep(60)
        return super().fit(train, val, context)
"""


@pytest.fixture
def few(tiny):
    return store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})


@pytest.fixture
def mood(few, tmp_path, monkeypatch):
    """The file that a plug-in's model goes by; other processes find the plug-in on PYTHONPATH."""
    home = tmp_path / "plugin"
    info = home / "moody-1.dist-info"
    info.mkdir(parents=True)
    (home / "moody_model.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moody\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mslitmus.plugins]\nmodel.moody = moody_model:Moody\n")
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.setattr(MODELS, "_targets", dict(MODELS._targets))
    monkeypatch.setattr(MODELS, "_plugins_read", False)
    return home / "mood"


def run(folder: Path, engine, models=STUDY["models"], lines=None):
    study = StudyConfig.model_validate({**STUDY, "models": models})
    runner.run(study, folder, engine=engine, progress=[].append if lines is None else lines.append)


def predictions(folder: Path) -> dict[str, bytes]:
    names = ("predictions.parquet", "summary.parquet")
    return {str(p.relative_to(folder)): p.read_bytes() for name in names for p in sorted(folder.rglob(name))}


def left_behind(folder: Path) -> list[Path]:
    return [p for pattern in (".staged*", ".lock*", ".seen*") for p in folder.rglob(pattern)]


def test_the_same_files_from_serial_and_processes(few, tmp_path):
    models = [*STUDY["models"], *([SMALL] if find_spec("torch") else [])]
    run(tmp_path / "serial", Serial(), models)
    lines: list[str] = []
    run(tmp_path / "both", Processes(2), models, lines)
    assert predictions(tmp_path / "both") == predictions(tmp_path / "serial")
    assert f"[2/{len(models)}] random · nearest-molecule · seed 0 is finished" in lines
    assert not left_behind(tmp_path)
    again: list[str] = []
    run(tmp_path / "both", Processes(2), models, again)
    assert not [line for line in again if line.startswith("[")]  # nothing was left to compute


def test_a_killed_worker_costs_nothing_once_and_is_named_the_second_time(mood, tmp_path):
    models = ["moody", "precursor-only"]
    run(tmp_path / "whole", Serial(), models)
    mood.write_text("dies once")
    lines: list[str] = []
    run(tmp_path / "once", Processes(2), models, lines)
    assert "[1/2] its process died by SIGKILL (memory ran out?): once more" in lines
    assert predictions(tmp_path / "once") == predictions(tmp_path / "whole")
    mood.write_text("dies")
    with pytest.raises(RunError, match=r"cell random · moody · seed 0: its process died 2 times, at last by SIGKILL"):
        run(tmp_path / "twice", Processes(2), models)
    assert not left_behind(tmp_path / "once")


def test_an_error_ends_the_run_and_what_is_finished_stays(mood, tmp_path):
    mood.write_text("fails")
    with pytest.raises(ModelError, match="no mood for it"):
        run(tmp_path, Processes(1), ["precursor-only", "moody"])
    assert (tmp_path / "cells/random/precursor-only/seed0/cell.json").exists()
    mood.unlink()
    lines: list[str] = []
    run(tmp_path, Processes(1), ["precursor-only", "moody"], lines)
    assert not [line for line in lines if "precursor-only" in line]


def test_ctrl_c_ends_the_workers(mood, tmp_path):
    mood.write_text("sleeps")
    seen: list[int] = []

    class Interrupting(list):
        def append(self, line):
            if "pid " in line:
                seen.append(int(line.split()[-1]))
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", Processes(1), ["moody"], Interrupting())
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)
    assert not left_behind(tmp_path / "run")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_rows_come_after_those_they_start_from():
    rows = [
        {"model": "neims", "name": "child", "start_from": "parent"},
        {"model": "neims", "name": "parent"},
        "precursor-only",
    ]
    jobs = jobs_of(StudyConfig.model_validate({**STUDY, "models": rows, "seeds": [0, 1]}))
    assert [(j.key.model, j.key.seed) for j in jobs[:4]] == [("parent", 0), ("parent", 1), ("child", 0), ("child", 1)]
    schedule = Schedule(jobs)
    first, second, third, fourth = (schedule.next() for _ in range(4))
    assert [j.key.model for j in (first, second, third, fourth)] == ["parent", "parent", *["precursor-only"] * 2]
    assert schedule.next() is None  # the children wait
    schedule.done(second)
    child = schedule.next()
    assert (child.key.model, child.key.seed) == ("child", 1)
    schedule.died(child, "by SIGKILL")
    assert schedule.next() is child
    with pytest.raises(RunError, match="child · seed 1: its process died 2 times"):
        schedule.died(child, "by SIGKILL")


def test_every_process_has_its_own_gpus():
    assert "CUDA_VISIBLE_DEVICES" not in _environments(1, 2, ["0"], 1)[1]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in _environments(1, 3, ["4", "7"], 1)] == ["4", "7", "4"]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in _environments(2, 2, ["0", "1", "2", "3"], 2)] == ["0,1", "2,3"]
    assert _environments(2, 1, [], 1)[0]["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize(
    ("said", "expected"), [([], Processes(2)), (["-j", "1"], Serial()), (["-j", "3"], Processes(3))]
)
def test_a_study_states_how_many_cells_at_a_time(said, expected, tmp_path, monkeypatch):
    path, asked = tmp_path / "t.yaml", []
    path.write_text(yaml.safe_dump({**STUDY, "budget": {"jobs": 2}}))
    monkeypatch.setattr("mslitmus.studies.runner.run", lambda *_, engine, **__: asked.append(engine))
    monkeypatch.setattr("mslitmus.cli.app.show_run", lambda run: None)
    done = CliRunner().invoke(app, ["run", str(path), *said])
    assert (done.exit_code, asked) == (0, [expected]), done.output
    assert "jobs" not in StudyConfig.model_validate(STUDY).model_dump()["budget"]


def test_engines_by_name():
    assert isinstance(engine_of(), Serial)
    assert engine_of(jobs=3) == Processes(3)
    with pytest.raises(ConfigError, match="unknown engine 'rey'"):
        engine_of("rey")
    with pytest.raises(ConfigError, match="address"):
        engine_of(address="auto")
    if find_spec("ray") is None:
        with pytest.raises(MissingExtraError, match="needs Ray"):
            engine_of("ray").check(StudyConfig.model_validate(STUDY))


def test_a_cell_that_no_node_of_a_cluster_can_hold_is_refused():
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}}] * 2
    cluster = SimpleNamespace(nodes=lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 64.0}}])
    study = StudyConfig.model_validate({**STUDY, "budget": {"devices": 2, "device": "cuda"}})
    with pytest.raises(ConfigError, match="no node of the cluster has more than 1 GPUs"):
        ray_cluster._gpus(cluster, study)  # two nodes of one GPU make no two GPUs for a cell
    ray_cluster._require_room(cluster, {"num_cpus": 4, "num_gpus": 1})
    with pytest.raises(ConfigError, match="a cell takes 8 cores, no node has them"):
        ray_cluster._require_room(cluster, {"num_cpus": 8, "num_gpus": 0})


def test_the_lock_of_another_machine(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    (tmp_path / ".lock").write_text("1 elsewhere")
    with pytest.raises(RunError, match="another process") as caught, folder.lock():
        pass
    assert "process 1 on elsewhere" in str(caught.value)
    monkeypatch.setattr(lock, "BEAT", 0.01)
    long_ago = time.time() - lock.DEAD - 1
    os.utime(tmp_path / ".lock", (long_ago, long_ago))  # nobody touches it any more
    with folder.lock():
        os.utime(tmp_path / ".lock", (long_ago, long_ago))
        time.sleep(0.1)
        assert (tmp_path / ".lock").stat().st_mtime > long_ago  # touched while it is held
    assert not left_behind(tmp_path)
    with folder.lock():
        (tmp_path / ".lock").write_text("1 elsewhere")  # somebody took this process for dead
    assert (tmp_path / ".lock").exists()


@pytest.mark.skipif(find_spec("ray") is None, reason="needs mslitmus[ray]: pip install ray")
@pytest.mark.filterwarnings("default")  # Ray's own
def test_ray_makes_the_same_files_and_replaces_a_killed_worker(mood, tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    models = ["moody", "precursor-only", "nearest-molecule"]
    run(tmp_path / "serial", Serial(), models)
    mood.write_text("dies once")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(mood.parent), os.environ.get("PYTHONPATH", "")]))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 10**8})
    try:
        cluster.add_node(num_cpus=1, object_store_memory=10**8)
        lines: list[str] = []
        run(tmp_path / "ray", engine_of("ray", address=cluster.address), models, lines)
        mood.write_text("fails")
        with pytest.raises(ModelError, match="no mood for it"):
            run(tmp_path / "error", engine_of("ray", address=cluster.address), ["moody"])
    finally:
        cluster.shutdown()
    assert [line for line in lines if line.startswith("[1/3] its process died")]
    assert predictions(tmp_path / "ray") == predictions(tmp_path / "serial")
    assert not left_behind(tmp_path)
