"""The one door to Ray: found or told how to get it, and a connection to its cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import ConfigError, MissingExtraError, RunError


def ray_module() -> Any:
    """Ray. Raises MissingExtraError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("the engine 'ray' needs Ray", remedy="pip install 'mslitmus[ray]'") from error
    return ray


def check_address(address: str | None) -> None:
    """Raises ConfigError for what is not a node's address."""
    if address and "://" in address:
        remedy = "start mslitmus on a node of the cluster, with --address auto or host:port"
        raise ConfigError(f"--address {address}: not a node's address", remedy=remedy)


@contextmanager
def connected(ray: Any, address: str | None, threads: int) -> Iterator[None]:
    """Within, this process belongs to the cluster; where the caller has connected it to one, to that one.

    Args:
        address: `auto`, `host:port` of its head, or None: RAY_ADDRESS, else a Ray on this machine.
        threads: of a worker process. Raises RunError where no cluster answers.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        limits = {"env_vars": {"POLARS_MAX_THREADS": str(threads)}}  # Ray itself sets OMP_NUM_THREADS
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", runtime_env=limits)
    except (ConnectionError, RuntimeError, ValueError) as error:
        what = f"no Ray cluster answers: {str(error).splitlines()[0]}"
        remedy = "`ray start --head` here, `ray start --address=HOST:6379` on other machines; see docs/clusters.md"
        raise RunError(what, where=address, remedy=remedy) from error
    try:
        yield
    finally:
        ray.shutdown()
