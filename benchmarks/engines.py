"""The same study by every engine: serial, with processes, and on a Ray cluster of two local nodes, where one worker
process is killed in mid-run. The predictions must be the same files, and nothing may be lost.

    python benchmarks/engines.py [STUDY] [--out FOLDER] [--jobs 2] [--without ray]

STUDY is `tiny` (made here: quickstart with one thread, one split and few epochs), `quickstart`, or a file. Needs
`mslitmus[ray]`, unless --without ray.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import psutil

from mslitmus.provenance import file_hash
from mslitmus.studies.config import StudyConfig
from mslitmus.studies.engines import Engine, Processes, Serial, engine_of
from mslitmus.studies.files import find, load
from mslitmus.studies.runner import run

NODES, CORES = 2, 1


def study_of(name: str) -> StudyConfig:
    study = load(find("quickstart" if name == "tiny" else name))
    if name != "tiny":
        return study
    value = study.model_dump(mode="json", exclude_none=True)
    for model in value["models"]:
        if training := model["options"].get("training"):
            training["epochs"] = 3
    value |= {"splits": value["splits"][:1], "budget": {"threads": 1, "device": "cpu"}, "name": "tiny"}
    return StudyConfig.model_validate(value)


def hashes(root: Path) -> dict[str, str]:
    """Cell → hash of its predictions."""
    return {str(p.parent.relative_to(root / "cells")): file_hash(p) for p in root.rglob("predictions.parquet")}


def timed(study: StudyConfig, root: Path, engine: Engine, progress: Callable[[str], None]) -> float:
    started = time.perf_counter()
    run(study, root, engine=engine, progress=progress)
    return time.perf_counter() - started


def on_two_nodes(study: StudyConfig, root: Path) -> tuple[float, int]:
    """Seconds, and how many worker processes were killed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": CORES, "object_store_memory": 10**8})
    for _ in range(NODES - 1):
        cluster.add_node(num_cpus=CORES, object_store_memory=10**8)
    killed: list[int] = []

    def watch(line: str) -> None:
        print(" ", line, flush=True)
        if not killed and " epoch 1/" in line:  # in the middle of the first training
            mine = psutil.Process().children(recursive=True)
            busy = [p.pid for p in mine if p.is_running() and "ray::_compute" in " ".join(p.cmdline())]
            os.kill(busy[-1], signal.SIGKILL)
            killed.append(busy[-1])
            print(f"  killed the worker process {busy[-1]}", flush=True)

    try:
        return timed(study, root, engine_of("ray", address=cluster.address), watch), len(killed)
    finally:
        cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", default="tiny")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--without", choices=["ray"])
    given = parser.parse_args()
    study, out = study_of(given.study), given.out or Path(mkdtemp(prefix="mslitmus-engines-"))
    rows = [("serial", timed(study, out / "serial", Serial(), print), 0)]
    rows.append((f"processes, {given.jobs}", timed(study, out / "processes", Processes(given.jobs), print), 0))
    if given.without != "ray":
        rows.append((f"ray, {NODES} nodes", *on_two_nodes(study, out / "ray")))
    reference = hashes(out / "serial")
    print(f"\n{'engine':14} {'seconds':>8} {'killed':>7} {'cells':>6}  predictions")
    for (name, seconds, killed), folder in zip(rows, ("serial", "processes", "ray"), strict=False):
        found = hashes(out / folder)
        same = "the same" if found == reference else "DIFFERENT"
        print(f"{name:14} {seconds:8.1f} {killed:7d} {len(found):6d}  {same}")
        assert found == reference


if __name__ == "__main__":
    main()
