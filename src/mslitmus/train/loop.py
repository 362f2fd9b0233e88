"""The one training loop: Lightning runs the epochs, the reported validation metric chooses the epoch and the stop.

What a fold of training leaves in `context.folder/checkpoints`:

- `last.ckpt`   everything that is needed to go on (weights, optimiser, step, history), after every epoch;
- `best.pt`     weights of the epoch with the best validation score, once there is one;
- `fit.json`    fingerprint of options, data and seed: a checkpoint of something else is not resumed but replaced.

All are written through temporary files, so that a kill costs at most the epoch under way. The order of the batches and
every random number of an epoch follow from (seed, epoch): a resumed run ends with the same weights as an unbroken one.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
import random
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import polars as pl
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from ..errors import ConfigError, ModelError
from ..models.options import TrainingOptions
from ..models.protocol import FitContext, FitReport, Trainable
from ..provenance import write_json
from .keeper import OUT_OF_BUDGET, Keeper
from .ranks import Follower, Ranks, Shared, deal, ranks_of

_KILLED = 128 + signal.SIGTERM
#: oneDNN keeps what it made for each shape, by default 1,024 of them: gigabytes where each batch has its own length.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def fit_trainable(model: Trainable, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
    """Train `model` in place and return what happened; the model holds the best epoch's weights afterwards.

    Raises ModelError where the loss is no number, ConfigError for a device that is not there; a KeyboardInterrupt
    passes through with `last.ckpt` and `best.pt` usable.
    """
    device = resolve_device(context.device)
    # Said even where it changes nothing: until then MKL is "dynamic", free to take another number of threads each call,
    # and sums split over another number of threads differ in their last digits.
    torch.set_num_threads(context.threads or torch.get_num_threads())
    _seed(context.seed)
    shared = Shared(model, train, context)
    model.prepare(train, context)
    folder = context.folder / "checkpoints"
    resume = _open_folder(folder, model.fingerprint(), context.seed)
    keeper = Keeper(model, val, context, folder, time.perf_counter())
    keeper.precision = resolve_precision(model.training.precision, device)  # of the start, also for what resumes it
    if _goes_on(keeper, resume):
        with ranks_of(shared, model, device, resume, context.progress) as ranks:
            _train(model, keeper, device, context, resume, ranks)
    best = torch.load(folder / "best.pt", map_location="cpu", weights_only=True)
    model.network.load_state_dict(best)
    model.network.eval()
    return keeper.report()


def follow(shared: Shared, rank: int, device: str, resume: Path | None) -> None:
    """What a further process of a training does: its share of every batch, as rank 0 decides."""
    torch.set_num_threads(shared.context.threads or torch.get_num_threads())
    _seed(shared.context.seed)
    shared.model.prepare(shared.train, shared.context)
    ranks = Ranks(rank, shared.context.devices)
    _train(shared.model, Follower(), device, shared.context, resume, ranks)


def _train(
    model: Trainable, callback: Any, device: str, context: FitContext, resume: Path | None, ranks: Ranks
) -> None:
    place = f"cuda:{ranks.rank}" if device == "cuda" and ranks.size > 1 else device
    with _quiet(), _deterministic(device):
        trainer = _trainer(model.training, callback, device, context.folder, ranks)
        model.network.to(place)
        model.to(place)
        precision = callback.precision or resolve_precision(model.training.precision, device)
        _run(trainer, _Module(model, context.seed, ranks, precision == "bf16"), callback, resume)


def resolve_device(name: str) -> str:
    """`auto` → `cuda` where there is one, else `cpu`. Raises ConfigError for what is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu" or (name == "cuda" and torch.cuda.is_available()):
        return name
    remedy = "use device: auto or cpu" if name == "cuda" else "devices are auto, cpu and cuda"
    raise ConfigError(f"device {name!r} is not to be had here", remedy=remedy)


def resolve_precision(name: str, device: str) -> str:
    """`auto` → `bf16` on a GPU or CPU that multiplies in it, else `32`. AVX-512's instructions for it are no gain."""
    if name != "auto":
        return name
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    return "bf16" if getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)() else "32"


def learning_rate(options: TrainingOptions, step: int, steps: int) -> float:
    """Rate at this step of `steps`: linear warm-up, then cosine to zero, or constant (plateau lowers it by score)."""
    warmup = options.warmup * steps
    if step < warmup:
        return options.learning_rate * (step + 1) / (warmup + 1)
    if options.schedule != "cosine":
        return options.learning_rate
    done = (step - warmup) / max(1.0, steps - warmup)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class _Module(lightning.LightningModule):
    """Lightning's view of a Trainable."""

    def __init__(self, model: Trainable, seed: int, ranks: Ranks, half: bool) -> None:
        super().__init__()
        self.model, self.seed, self.network, self.ranks, self.half = model, seed, model.network, ranks, half
        self.losses: list[Tensor] = []
        self.shares: list[float] = []  # of this process in each batch
        self.factor = 1.0  # of a plateau schedule

    def train_dataloader(self) -> Any:
        batches = self.model.train_batches(_mix(self.seed, self.current_epoch))
        self.shares = deal(batches, self.ranks)
        return batches

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # the model's batches are made where they are used

    def on_train_epoch_start(self) -> None:
        rank = self.ranks.rank  # each drops out other units
        _seed(_mix(self.seed, self.current_epoch) if rank == 0 else _mix(self.seed, self.current_epoch, rank))
        self.losses = []

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        options: TrainingOptions = self.model.training
        steps = options.epochs * self.trainer.num_training_batches
        rate = learning_rate(options, self.global_step, int(steps)) * self.factor
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss: Tensor = self.model.loss(batch)
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss is {loss.item()} in epoch {self.current_epoch + 1}",
                remedy=f"lower training.learning_rate (now {self.model.training.learning_rate:g})",
            )
        if self.ranks.size == 1:
            self.losses.append(loss.detach())
            return loss
        part = loss * self.shares[batch_idx]  # of the mean over the whole batch
        self.losses.append(part.detach())
        return part * self.ranks.size  # DDP takes the mean over processes

    def mean_loss(self) -> float:
        """Of the epoch, over whole batches."""
        if not self.losses:
            return math.nan
        losses = torch.stack(self.losses)
        if self.ranks.size > 1:
            losses = self.trainer.strategy.reduce(losses, reduce_op="sum")
        return float(losses.mean())

    def configure_optimizers(self) -> Any:
        options: TrainingOptions = self.model.training
        return torch.optim.AdamW(
            self.network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )


def _goes_on(keeper: Keeper, resume: Path | None) -> bool:
    """Whether there is anything left to train."""
    if resume is None:
        return True
    state = _callback_state(resume, keeper)
    if state["best"][0] is not None and not (resume.parent / "best.pt").exists():
        raise _damaged(resume)
    keeper.load_state_dict(state)
    more = state["stopped"].startswith(OUT_OF_BUDGET) and not keeper.spent
    goes_on = state["best"][0] is None or not state["stopped"] or more
    if not goes_on:
        keeper.finished_before(state)
    return goes_on


def _run(trainer: Any, module: _Module, keeper: Any, resume: Path | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, ckpt_path=None if resume is None else str(resume))
    except SIGTERMException:  # a SystemExit without a code: a killed run would end as if it had succeeded
        raise SystemExit(_KILLED) from None
    except SystemExit:  # Lightning ends the process on Ctrl-C; the caller decides that
        if keeper.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:  # after Ctrl-C Lightning leaves the signal ignored, in a notebook for good
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _callback_state(path: Path, keeper: Keeper) -> dict[str, Any]:
    """What the keeper left in a checkpoint. Raises ModelError where the file is damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["callbacks"][keeper.state_key]
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise _damaged(path) from error
    return state


def _damaged(checkpoint: Path) -> ModelError:
    remedy = f"delete {checkpoint.parent} to train this model again from the start"
    return ModelError("the checkpoint is damaged", where=str(checkpoint), remedy=remedy)


def _trainer(options: TrainingOptions, keeper: Any, device: str, folder: Path, ranks: Ranks) -> Any:
    return lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=ranks.size,
        strategy=ranks.strategy(device),
        use_distributed_sampler=False,  # `deal` does it
        max_epochs=options.epochs,
        min_epochs=0,
        gradient_clip_val=options.clip,
        callbacks=[keeper],
        plugins=[LightningEnvironment()],  # one process also inside a SLURM or torchrun job of several
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        deterministic="warn" if device == "cuda" else True,
        default_root_dir=str(folder),
    )


def _open_folder(folder: Path, fingerprint: str, seed: int) -> Path | None:
    """The checkpoint to resume, if the folder holds one of this very fit; another one's is removed."""
    wanted = {"fingerprint": fingerprint, "seed": seed}
    try:
        same = json.loads((folder / "fit.json").read_text(encoding="utf-8")) == wanted
    except (OSError, ValueError):
        same = False
    if same and (folder / "last.ckpt").exists():
        return folder / "last.ckpt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "fit.json", wanted)
    return None


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for code that uses the global generator
    torch.manual_seed(seed)


@contextmanager
def _deterministic(device: str) -> Iterator[None]:
    """Sums in a fixed order: by default torch adds gradients of gathered rows atomically, in whatever order threads
    arrive, and two runs of one seed drift apart. On a GPU some operations have no such form; they stay as they are."""
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=device == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs a tenth of the time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.utils.deterministic.fill_uninitialized_memory = filled


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning without banners, tips and advice."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
