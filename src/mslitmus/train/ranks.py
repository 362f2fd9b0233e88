"""One training on several devices: this process is rank 0, the others are started beside it.

Lightning's own launchers would start the user's whole command again (`ddp`) or pickle the trainer (`ddp_spawn`); here
the further processes are given what `fit` was given, and Lightning finds them launched. Every process goes through the
same batches in the same order and takes its share of the rows of each, weighted by their number: so that a step
follows the gradient of the mean over the whole batch, as on one device. Validation, history, clock and checkpoint are
rank 0's; the others do what it decides.

A network that normalises over the batch would see shares instead: it is trained on one device, and so is a model whose
epochs do not say which rows a batch holds.
"""

from __future__ import annotations

import copy
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from ..errors import ModelError, MslitmusError
from ..models.protocol import FitContext, Trainable

_GRACE = 30.0  # seconds that a follower gets to end after rank 0
#: What Lightning reads of processes that it did not start.
_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1

    def strategy(self, device: str) -> Any:
        """Lightning's. Not every parameter takes part in every batch: a head may leave the graph vector alone."""
        if self.size == 1:
            return "auto"
        backend = "nccl" if device == "cuda" else "gloo"
        return DDPStrategy(process_group_backend=backend, find_unused_parameters=True)


class Shared:
    """What a follower needs of a fit: the model as it was built, the training fold, the context without callables."""

    def __init__(self, model: Trainable, train: pl.DataFrame, context: FitContext) -> None:
        several = context.devices > 1
        self.model: Any = copy.deepcopy(model) if several else model  # `prepare` changes it
        self.train = train
        bare = FitContext(context.folder)
        self.context = replace(context, score=bare.score, progress=bare.progress)


class Follower(Callback):
    """A callback in Keeper's place: takes part in what all processes must do together."""

    interrupted = False
    precision = ""  # it finds its own

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        pl_module.factor = trainer.strategy.broadcast(1.0)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        trainer.should_stop |= trainer.strategy.reduce_boolean_decision(False, all=False)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.mean_loss()
        pl_module.factor, trainer.should_stop = trainer.strategy.broadcast(None)
        trainer.save_checkpoint("")  # rank 0 writes; the others only wait for it


def deal(batches: Any, ranks: Ranks) -> list[float]:
    """Leave this process its rows of every batch; returns its share of each. One row at least, if need be for nothing.

    batches: an epoch with `rows`, an array of row numbers a batch.
    """
    if ranks.size == 1:
        return []
    whole = batches.rows
    mine = [np.array_split(rows, ranks.size)[ranks.rank] for rows in whole]
    batches.rows = [part if len(part) else rows[:1] for part, rows in zip(mine, whole, strict=True)]
    return [len(part) / len(rows) for part, rows in zip(mine, whole, strict=True)]


@contextmanager
def ranks_of(
    shared: Shared, model: Trainable, device: str, resume: Path | None, progress: Callable[[str], None]
) -> Iterator[Ranks]:
    """The ranks of a fit as rank 0 sees them; the others run while within.

    Raises the error of a follower where that was the first.
    """
    size = shared.context.devices
    if size > 1 and (why := _undividable(model)):
        progress(f"trained on one device: {why}")
        size = 1
    if size == 1:
        yield Ranks()
        return
    before = {name: os.environ.get(name) for name in _VARIABLES}
    with tempfile.TemporaryDirectory(prefix="mslitmus-ranks-") as folder:
        # Where it is unset, Lightning sets it and the number of threads with it.
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
        os.environ.update(LOCAL_RANK="0", NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(_free_port()))
        handed = Path(folder) / "shared.pickle"
        handed.write_bytes(pickle.dumps((shared, device, resume)))
        others = [_start(handed, rank) for rank in range(1, size)]
        try:
            yield Ranks(0, size)
            for process in others:
                process.wait(_GRACE)
        except Exception as error:
            first = _first_error(Path(folder), others, error)
            if first is error:
                raise
            raise first from error
        finally:
            for process in others:
                _end(process)
            _restore(before)
            _leave_group()


def _undividable(model: Any) -> str:
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.network.modules()):
        return "it normalises over whole batches"
    return "" if hasattr(model.train_batches(0), "rows") else "its batches cannot be shared out"


def _start(handed: Path, rank: int) -> subprocess.Popen[bytes]:
    environment = {"LOCAL_RANK": str(rank), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # a word on unused parameters, which rank 0 has said
    command = [sys.executable, "-c", f"from {__name__} import serve; serve({str(handed)!r}, {rank})"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **environment})


def serve(handed: str, rank: int) -> None:
    """A follower's whole life. It ends with rank 0, whose end closes standard input."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    code = 0
    try:
        from .loop import follow

        shared, device, resume = pickle.loads(Path(handed).read_bytes())
        follow(shared, rank, device, resume)
    except Exception as error:
        code = 1
        told = error if isinstance(error, MslitmusError) else ModelError(traceback.format_exc())
        with suppress(OSError):  # rank 0 is gone, and the folder with it
            Path(handed).with_name(f"error{rank}").write_bytes(pickle.dumps(told))
    os._exit(code)


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


def _first_error(folder: Path, others: list[subprocess.Popen[bytes]], mine: Exception) -> Exception:
    """A follower's error, where one left it: rank 0 then only lost its connection."""
    if isinstance(mine, MslitmusError):
        return mine
    for process in others:
        with suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
    for path in sorted(folder.glob("error*")):
        told: Exception = pickle.loads(path.read_bytes())
        return told
    died = [process.returncode for process in others if process.returncode]
    if not died:
        return mine
    remedy = "if memory ran out: fewer devices; the same command continues from the last epoch"
    return ModelError(f"a process of the training ended with {died[0]}", remedy=remedy)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _leave_group() -> None:
    """The next fit of this process forms a group of its own."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
