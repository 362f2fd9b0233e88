"""The folder of a pretraining: who may work in it, what was asked, what is recorded when it begins and ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ... import lineage
from ...errors import RunError
from ...lock import exclusive
from ...models.protocol import FitContext
from ...provenance import environment, file_hash, now, write_json
from .molecules import HeldOut

Progress = Callable[[str], None]
Score = Callable[[pl.DataFrame, pl.DataFrame], float]
RECORD, USED, WEIGHTS = lineage.PRETRAINING, lineage.USED, "weights.pt"


@dataclass(frozen=True)
class Setting:
    """Where and with what means.

    Args:
        folder: of the results.
        seed: of everything random.
        limit: at most so many molecules, drawn by the seed; None takes all.
        near: Tanimoto similarity to a held-out molecule from which on a molecule is excluded.
        device, threads, max_seconds: as in `models.protocol.FitContext`; the seconds are of each stage.
        processes: for chemistry before the training.
        fresh: forget what an earlier run left in the folder.
    """

    folder: Path
    seed: int = 0
    limit: int | None = None
    near: float = 0.8
    device: str = "auto"
    threads: int | None = None
    max_seconds: float | None = None
    processes: int = 2
    fresh: bool = False

    def context(self, folder: Path, score: Score, progress: Progress) -> FitContext:
        """Of a training that is judged by `score` and whose checkpoints lie in `folder`."""
        return FitContext(folder, self.seed, score, progress, self.device, self.max_seconds, threads=self.threads)


@contextmanager
def alone_in(setting: Setting, files: Sequence[str], folders: Sequence[str]) -> Iterator[None]:
    """The folder for this process; with `fresh` without the files and folders that an earlier run left.

    Raises RunError where another is at work in it.
    """
    setting.folder.mkdir(parents=True, exist_ok=True)
    with exclusive(setting.folder):
        if setting.fresh:
            forget(setting.folder, files, folders)
        yield


def forget(folder: Path, files: Sequence[str], folders: Sequence[str]) -> None:
    """Remove these, record, list of molecules and weights, and nothing else."""
    for name in (RECORD, USED, WEIGHTS, *files):
        (folder / name).unlink(missing_ok=True)
    for name in folders:
        shutil.rmtree(folder / name, ignore_errors=True)


def asked_of(method: str, setting: Setting, held_out: HeldOut, **own: Any) -> dict[str, Any]:
    """What makes a pretraining this one, as JSON gives it back (lists for tuples); `own`: options and input."""
    shared = {"limit": setting.limit, "near": setting.near, "held_out": held_out.record, "seed": setting.seed}
    asked: dict[str, Any] = json.loads(json.dumps({"method": method, **own, **shared}))
    return asked


def claim(folder: Path, asked: Mapping[str, Any], progress: Progress) -> dict[str, Any] | None:
    """The record of this very pretraining where the folder holds it finished. Raises RunError where the folder holds
    one that was asked for otherwise."""
    record = earlier(folder / RECORD, asked, "a pretraining")
    finished, weights = (record or {}).get("weights_sha256"), folder / WEIGHTS
    if not finished or not weights.is_file() or file_hash(weights) != finished:
        return None
    progress("finished before: nothing to do")
    return record


def earlier(path: Path, asked: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """The record at `path` of what was asked for like this; None where there is none. Raises RunError for another."""
    if not path.exists():
        return None
    remedy = "choose another --out, or start anew with --fresh"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        before = record["asked"]
        other = [key for key in asked if asked[key] != before.get(key)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"not the record of {kind}", where=str(path), remedy=remedy) from error
    if other:
        raise RunError(f"holds {kind} with other {other[0]}", where=str(path.parent), remedy=remedy)
    return record


def begin(folder: Path, asked: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a pretraining that is not finished, written; `told`: molecules and what is filled in later."""
    record = {"asked": asked, **told, "environment": environment(), "weights_sha256": None, "finished": None}
    write_json(folder / RECORD, record)
    return record


def finish(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the hash of the weights, which are there by now."""
    done = {**record, "weights_sha256": file_hash(folder / WEIGHTS), "finished": now()}
    write_json(folder / RECORD, done)
    return done
