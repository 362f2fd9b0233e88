"""Engines: where the cells of a study are computed. The same cells, rows and files with each of them."""

from __future__ import annotations

from ...errors import ConfigError, unknown_name
from .bench import Bench
from .plan import Engine, Job, Schedule, execute
from .processes import Processes
from .serial import Serial

#: Names that `--engine` takes.
ENGINES = ("local", "ray")


def engine_of(name: str = "local", jobs: int = 1, address: str | None = None) -> Engine:
    """An engine by name.

    Args:
        jobs: cells at a time on this machine; 0 as many as GPUs or cores have room for.
        address: of a Ray cluster, `auto` or `host:port`; None: RAY_ADDRESS, else a Ray on this machine.
    Raises ConfigError for what cannot be, MissingExtraError without `mslitmus[ray]`.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if name == "ray" and jobs != 1:
        raise ConfigError("--jobs is of this machine", remedy="Ray runs as many cells as its cores and GPUs allow")
    if name == "ray":
        from .ray_cluster import Cluster

        return Cluster(address)
    if address is not None:
        raise ConfigError("--address is of a Ray cluster", remedy="say --engine ray, or leave it out")
    if jobs < 0:
        raise ConfigError(f"--jobs {jobs}", remedy="1, 2, … cells at a time, or 0 for as many as fit")
    return Serial() if jobs == 1 else Processes(jobs)


__all__ = ["ENGINES", "Bench", "Engine", "Job", "Processes", "Schedule", "Serial", "engine_of", "execute"]
