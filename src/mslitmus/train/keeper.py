"""After every epoch: score, history, best weights, checkpoint, and whether to stop."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from lightning.pytorch.callbacks import Callback

from ..errors import ModelError
from ..models.options import TrainingOptions
from ..models.protocol import AsksItself, Epoch, FitContext, FitReport, Trainable

OUT_OF_BUDGET = "out of budget"
_MEASURED = ("mzs", "intensities", "base_peak_intensity")


def validation(model: Trainable, val: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows, queries) of the validation sample: at most `val_limit` spectra, drawn by the seed.

    A model that `AsksItself` says what it is shown and which rows it can be asked about; any other one predicts
    spectra: rows with a structure and peaks, the measured columns hidden. Raises ModelError if no row is left.
    """
    if isinstance(model, AsksItself):
        queries = model.queries(val)
    else:
        usable = val.filter(pl.col("smiles").is_not_null() & (pl.col("mzs").list.len() > 0))
        queries = usable.drop(_MEASURED, strict=False)
    if queries.is_empty():
        raise ModelError("the validation fold is empty", remedy="choose a split with a validation fold")
    limit = model.training.val_limit
    if queries.height > limit:
        queries = queries[np.sort(np.random.default_rng(seed).choice(queries.height, limit, replace=False))]
    rows = queries.select("identifier").join(val, on="identifier", how="left", maintain_order="left")
    return rows.select(val.columns), queries


class Keeper(Callback):
    """Lightning's callback that judges the epochs of one fit.

    Args:
        model: what is trained; predicts the validation sample after an epoch.
        val: the validation fold.
        context: the score that judges, the clock, the line of progress.
        folder: of `last.ckpt` and `best.pt`.
        started: `time.perf_counter()` when fitting began.
    """

    def __init__(self, model: Trainable, val: pl.DataFrame, context: FitContext, folder: Path, started: float) -> None:
        self.model, self.context, self.folder = model, context, folder
        self.val_rows = val.height
        self.val, self.queries = validation(model, val, context.seed)
        self.started, self.before = started, 0.0
        self.history: list[Epoch] = []
        self.best_epoch: int | None = None
        self.best_score = -math.inf
        self.waited = self.plateau = 0
        self.factor = 1.0
        self.stopped = ""
        self.steps = 0
        self.interrupted = False
        self.precision = ""
        self._epoch_started = started

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": [asdict(epoch) for epoch in self.history],
            "best": [self.best_epoch, self.best_score],
            "waited": [self.waited, self.plateau, self.factor],
            "stopped": self.stopped,
            "seconds": self.elapsed,
            "steps": self.steps,
            "precision": self.precision,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [Epoch(**epoch) for epoch in state_dict["history"]]
        self.best_epoch, self.best_score = state_dict["best"]
        self.waited, self.plateau, self.factor = state_dict["waited"]
        self.before, self.steps = state_dict["seconds"], state_dict["steps"]
        self.precision = state_dict.get("precision", self.precision)

    def finished_before(self, state_dict: dict[str, Any]) -> None:
        """Only the report is asked for again: its seconds are those of the training."""
        self.stopped, self.started = state_dict["stopped"], time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds of this call and of those it resumes."""
        return self.before + time.perf_counter() - self.started

    @property
    def spent(self) -> str:
        """Which limit of the budget is reached; empty while there is more."""
        limits = {
            "s": (self.elapsed, self.context.max_seconds),
            "epochs": (len(self.history), self.context.max_epochs),
            "steps": (self.steps, self.context.max_steps),
        }
        return next((f"{limit:g} {unit}" for unit, (used, limit) in limits.items() if limit and used >= limit), "")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        pl_module.factor = trainer.strategy.broadcast(self.factor)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._epoch_started = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps += 1
        trainer.should_stop |= trainer.strategy.reduce_boolean_decision(bool(self.spent), all=False)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        options, epoch = self.model.training, trainer.current_epoch + 1
        loss = pl_module.mean_loss()
        limit = min(options.epochs, self.context.max_epochs or options.epochs)
        last = epoch >= limit or bool(self.spent)
        score = self._score() if last or epoch % options.evaluate_every == 0 else None
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        seconds = time.perf_counter() - self._epoch_started
        self.history.append(Epoch(epoch, loss, score, rate, round(seconds, 3)))
        if score is not None:
            self._judge(score, epoch, options)
        pl_module.factor = self.factor
        self.context.progress(self._line(epoch, loss, score, seconds))
        if self.waited >= options.patience:
            self.stopped = f"no better validation score in {options.patience} evaluations"
        elif epoch >= options.epochs:
            self.stopped = f"all {options.epochs} epochs"
        elif score is not None and (spent := self.spent):  # last: only what lacked budget goes on with a larger one
            self.stopped = f"{OUT_OF_BUDGET} ({spent})"
            if epoch < options.warmup * options.epochs:
                self.context.progress(
                    "the rate was still rising when the budget ended: lower training.warmup or epochs"
                )
        trainer.should_stop = bool(self.stopped)
        trainer.strategy.broadcast((self.factor, trainer.should_stop))  # to followers, see `ranks`
        _replace(self.folder / "last.ckpt", trainer.save_checkpoint)

    def _score(self) -> float:
        score = float(self.context.score(self.model.predict(self.queries), self.val))
        if not math.isfinite(score):
            raise ModelError(
                f"the validation score is {score}", remedy="check that the validation fold holds measured peaks"
            )
        return score

    def _judge(self, score: float, epoch: int, options: TrainingOptions) -> None:
        if score > self.best_score:
            self.best_score, self.best_epoch, self.waited, self.plateau = score, epoch, 0, 0
            weights = {name: value.cpu() for name, value in self.model.network.state_dict().items()}
            _replace(self.folder / "best.pt", lambda path: torch.save(weights, path))
            return
        self.waited += 1
        self.plateau += 1
        if options.schedule == "plateau" and self.plateau > options.patience // 3:
            self.factor, self.plateau = self.factor / 2, 0

    def _line(self, epoch: int, loss: float, score: float | None, seconds: float) -> str:
        shown = "not scored" if score is None else f"val {score:.4f}{' *' if epoch == self.best_epoch else ''}"
        return f"epoch {epoch}/{self.model.training.epochs}  loss {loss:.4f}  {shown}  {seconds:.1f} s"

    def report(self) -> FitReport:
        """What happened, once training is over."""
        notes: dict[str, Any] = {
            "steps": self.steps,
            "validation_spectra_scored": self.val.height,
            "validation_spectra": self.val_rows,
        }
        if self.model.training.precision == "auto":
            notes["precision"] = self.precision
        notes |= getattr(self.model, "notes", {})
        return FitReport(
            seconds=round(self.elapsed, 3),
            parameters=self.model.parameters(),
            stopped=self.stopped,
            best_epoch=self.best_epoch,
            best_score=self.best_score,
            history=tuple(self.history),
            notes=notes,
        )


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write through a temporary file: a kill leaves the old one."""
    temporary = path.with_name(f".{path.name}.tmp{os.getpid()}")
    write(temporary)
    os.replace(temporary, path)
