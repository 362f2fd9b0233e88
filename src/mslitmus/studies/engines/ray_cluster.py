"""The cells of a study as tasks of a Ray cluster.

Ray chooses machine and moment; which cell is next, how often one is tried and what counts as finished is decided here,
as with processes. Run folder and MSLITMUS_HOME lie on a file system that all nodes see under the same path: results
are files, nothing but progress goes through Ray.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ... import __version__
from ...audits.evidence import CellKey
from ...data.store import home
from ...errors import ConfigError, MslitmusError, RunError
from ...rays import check_address, connected, ray_module
from ..config import StudyConfig
from .bench import LATE, Bench, Progress, appears, read_bench
from .plan import Job, Schedule
from .processes import sigterm_ends

_POLL = 0.5  # seconds between two looks at the cluster
_SIGHT = 20.0  # seconds for which a node may not see a new file yet


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster. `address` is `auto`, `host:port` of its head, or None: RAY_ADDRESS, else a Ray on this machine."""

    address: str | None = None

    def check(self, study: StudyConfig) -> None:
        ray_module()
        check_address(self.address)

    def run(self, bench: Bench, jobs: Sequence[Job], progress: Progress, done: Callable[[Job], None]) -> None:
        ray = ray_module()
        threads, devices = bench.study.budget.threads or 1, bench.study.budget.devices
        with sigterm_ends(), connected(ray, self.address, threads):
            gpus = _gpus(ray, bench.study)
            resources = {"num_cpus": threads if gpus else threads * devices, "num_gpus": devices if gpus else 0}
            _require_room(ray, resources)
            _require_sight(ray, bench.root)
            bench = replace(bench.with_threads(threads), root=bench.root.resolve())
            with bench.staged() as staged:
                progress(f"Ray: {_described(ray)}; a cell takes {_spelt(resources)}")
                _Tasks(ray, bench.root, staged, resources).work(Schedule(jobs), progress, done)


class _Tasks:
    """The tasks of one run."""

    def __init__(self, ray: Any, root: Path, staged: Path, resources: Mapping[str, int]) -> None:
        self._ray, self._root, self._staged, self._resources = ray, root, staged, resources
        self._running: dict[Any, Job] = {}

    def work(self, schedule: Schedule, progress: Progress, done: Callable[[Job], None]) -> None:
        here = self._ray.get_runtime_context().get_node_id()
        lines = self._ray.remote(num_cpus=0)(_Lines).options(scheduling_strategy=_on(here)).remote()
        task = self._ray.remote(max_retries=0, **self._resources)(_compute)
        try:
            while schedule:
                while (job := schedule.next()) is not None:
                    places = (str(self._staged), str(home().resolve()), str(Path.cwd()))
                    reference = task.remote(places, job.key, job.mark, lines)
                    self._running[reference] = job
                ready, _ = self._ray.wait(list(self._running), timeout=_POLL)
                for line in self._ray.get(lines.take.remote()):
                    progress(line)
                for reference in ready:
                    self._end(reference, schedule, progress, done)
        finally:
            for reference in self._running:
                self._ray.cancel(reference, force=True)

    def _end(self, reference: Any, schedule: Schedule, progress: Progress, done: Callable[[Job], None]) -> None:
        job = self._running.pop(reference)
        errors = self._ray.exceptions
        try:
            self._ray.get(reference)
        except errors.RayTaskError as error:  # the cell's own error: another try would end in it too
            progress(f"{job.mark} failed")
            raise _own(error, job) from error
        except errors.RayError as error:  # worker, node or network
            how = f"({type(error).__name__})"
            schedule.died(job, how)
            progress(f"{job.mark} its process died {how}: once more")
            return
        record = self._root / "cells" / job.key.split / job.key.model / f"seed{job.key.seed}" / "cell.json"
        if not appears(record, LATE):
            raise RunError("a finished cell is not to be seen from here", where=str(record), remedy=_SHARED)
        schedule.done(job)
        progress(f"{job} is finished")
        done(job)


class _Lines:
    """An actor on the main process's node: lines of progress from everywhere."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def say(self, line: str) -> None:
        self._lines.append(line)

    def take(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines


_SHARED = "run folder and MSLITMUS_HOME must lie on a file system that every node sees under the same path"


def _compute(places: tuple[str, str, str], key: CellKey, mark: str, lines: Any) -> None:
    """The task: one cell. The study is read once a worker process.

    Args:
        places: staged file, MSLITMUS_HOME, and the main process's folder, from where a study's own paths count.
    """
    staged, os.environ["MSLITMUS_HOME"], folder = places
    with suppress(OSError):  # a node without that folder: only paths that are relative miss it
        os.chdir(folder)
    lines.say.remote(f"{mark} on {os.uname().nodename}: {key.split} · {key.model} · seed {key.seed}")
    _bench(staged).compute(key, lambda line: lines.say.remote(f"{mark} {line}"))


@lru_cache(maxsize=1)
def _bench(staged: str) -> Bench:
    return read_bench(Path(staged))


def _sees(files: Mapping[str, str]) -> tuple[str, str, list[str]]:
    """Host, version of mslitmus, and which of the folders' probe files this node does not see."""
    blind = [folder for folder, probe in files.items() if not appears(Path(folder) / probe, _SIGHT)]
    return os.uname().nodename, __version__, blind


def _require_sight(ray: Any, root: Path) -> None:
    """Raises RunError that names a node which does not see what this process writes, or runs another mslitmus."""
    probe = f".seen-{uuid.uuid4().hex}"
    folders = [root.resolve(), home().resolve()]
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / probe).touch()
        files = {str(folder): probe for folder in folders}
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        look = ray.remote(num_cpus=0, max_retries=0)(_sees)
        try:
            seen = ray.get([look.options(scheduling_strategy=_on(node)).remote(files) for node in nodes])
        except ray.exceptions.RayError as error:
            remedy = "install the same mslitmus[ray], with what the study needs, on every node"
            raise RunError(f"a node cannot run mslitmus: {str(error).splitlines()[-1]}", remedy=remedy) from error
    finally:
        for folder in folders:
            (folder / probe).unlink(missing_ok=True)
    for host, version, blind in seen:
        if blind:
            raise RunError(f"node {host} does not see it", where=blind[0], remedy=_SHARED)
        if version != __version__:
            remedy = "install the same version on every node"
            raise RunError(f"node {host} has mslitmus {version}, this process {__version__}", remedy=remedy)


def _own(error: Any, job: Job) -> BaseException:
    """The error that the cell raised; the worker's traceback goes with it."""
    cause: BaseException = error.cause
    if not isinstance(cause, MslitmusError):
        cause.add_note(f"in cell {job.name}, on a worker:\n{error}")
    return cause


def _gpus(ray: Any, study: StudyConfig) -> bool:
    """Whether cells are given GPUs. Raises ConfigError where they are asked for and no node has as many."""
    device, there = study.budget.device, max((node.get("GPU", 0) for node in _nodes(ray)), default=0)
    if device == "cuda" and there < study.budget.devices:
        what = f"no node of the cluster has more than {there:g} GPUs" if there else "the cluster has no GPU"
        raise ConfigError(what, remedy="use device: auto or cpu, fewer devices, or add nodes with GPUs")
    return device != "cpu" and there >= study.budget.devices


def _require_room(ray: Any, resources: Mapping[str, int]) -> None:
    """Raises ConfigError where a cell is larger than every node: its task would wait for ever."""
    nodes = _nodes(ray)
    wanted = {"CPU": resources["num_cpus"], "GPU": resources["num_gpus"]}
    if not any(all(node.get(name, 0) >= number for name, number in wanted.items()) for node in nodes):
        largest = max((node.get("CPU", 0) for node in nodes), default=0)
        what = f"a cell takes {_spelt(resources)}, no node has them (the largest: {largest:g} cores)"
        raise ConfigError(what, remedy="lower budget.threads or budget.devices, or add a larger node")


def _nodes(ray: Any) -> list[Mapping[str, float]]:
    """Resources of each node that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _described(ray: Any) -> str:
    total = ray.cluster_resources()
    return f"{len(_nodes(ray))} nodes, {total.get('CPU', 0):g} cores, {total.get('GPU', 0):g} GPUs"


def _spelt(resources: Mapping[str, int]) -> str:
    gpus = f" and {resources['num_gpus']} GPUs" if resources["num_gpus"] else ""
    return f"{resources['num_cpus']} cores{gpus}"


def _on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node, soft=False)
