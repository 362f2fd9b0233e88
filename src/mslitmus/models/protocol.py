"""What every model of spectra offers, and what it is handed: free of torch, so that any code can be a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self, runtime_checkable

import polars as pl

#: What a model may know: nothing of chemistry, its nearest training molecule, what it learned, the truth.
Kind = Literal["blind", "neighbour", "trained", "oracle"]


def _no_score(predictions: pl.DataFrame, truth: pl.DataFrame) -> float:
    return 0.0


def _silent(line: str) -> None:
    return None


@dataclass(frozen=True)
class FitContext:
    """Where and how to fit.

    Args:
        folder: this cell's own folder: checkpoints go to `folder/checkpoints`, so a second call resumes there.
        seed: of everything random.
        score: the reported validation metric, (predictions, truth) → higher is better. Chooses epoch and stop.
        progress: takes one line an epoch.
        device: `cpu`, `cuda` or `auto`.
        max_seconds, max_epochs, max_steps: the budget: training stops, the best epoch kept, at whichever is reached
            first, counted over resumed calls; a later call with more goes on. Cached features do not count.
        threads: of the numerical libraries; None leaves them as they are.
        devices: GPUs that share the batches of this training; on the CPU processes.
        fitted: folder of this model as it was fitted before (of a bridge: of its inner model): loaded, not trained.
        cache: folder of molecule features shared by runs; None keeps them in memory only.
    """

    folder: Path
    seed: int = 0
    score: Callable[[pl.DataFrame, pl.DataFrame], float] = _no_score
    progress: Callable[[str], None] = _silent
    device: str = "auto"
    max_seconds: float | None = None
    max_epochs: int | None = None
    max_steps: int | None = None
    threads: int | None = None
    devices: int = 1
    fitted: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class Epoch:
    """One line of history. `score` is the reported metric on the validation fold, None where not evaluated."""

    epoch: int
    loss: float
    score: float | None
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class FitReport:
    """What fitting did. `stopped` says why it ended; `notes` hold what else a reader must know."""

    seconds: float
    parameters: int = 0
    stopped: str = "nothing to train"
    best_epoch: int | None = None
    best_score: float | None = None
    history: tuple[Epoch, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "history": [asdict(epoch) for epoch in self.history], "notes": dict(self.notes)}


@runtime_checkable
class Model(Protocol):
    """A model of one task. Constructors only store options; `fit` works.

    `train` and `val` are SPECTRA frames (with the task's own columns beside, see `tasks`); `queries` hold the task's
    visible columns only. `predict` answers every query in the task's schema of predictions, independent of the order
    of the rows and of which other rows are asked. Only a model of kind `oracle` is shown `truth_smiles` and
    `truth_inchikey14` too.

    Optional: `check_task(task)` raises ConfigError before any work where the model cannot do the task as it is set, and
    `report_to(progress)` says where `predict` may tell what it does. `inference_notes`, a mapping, says after `predict`
    what else its reader must know. A model whose answers do depend on which others are asked says so in the notes of
    its fit (`transductive: true`): it is ranked apart, and the audit of batching flags it.
    """

    task: str
    kind: Kind

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport: ...

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame: ...

    def parameters(self) -> int:
        """Number of trained numbers; 0 for a model without any."""
        ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


@runtime_checkable
class Starts(Protocol):
    """A model that can start from the weights of another fitted one: transfer (`start_from` in a study).

    `head` is `keep`, or `anew` for a new head, with its own vocabulary, on that model's body.
    """

    def check_start(self, parent: Any, head: str) -> None:
        """Both unfitted. Raises ConfigError where their architectures differ."""
        ...

    def start_from(self, folder: Path, head: str) -> None:
        """Take over vocabulary and weights that `save` wrote: the model answers with them, and `fit` trains them on."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """What `train.fit` needs of a model to run its epochs. Tensors are torch's; `Any` keeps this file free of it.

    `prepare` sees the training fold only: it fixes vocabularies, builds `network` and holds the training set ready.
    """

    training: Any  # models.options.TrainingOptions
    network: Any  # torch.nn.Module
    # Optional: `notes`, a mapping of what else a reader of the fit must know; `own_fit`, true where the model's `fit`
    # does more than the loop (which it calls), so that studies must call it.

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None: ...

    def to(self, device: str) -> None: ...

    def train_batches(self, order_seed: int) -> Any:
        """One epoch of batches, shuffled by this seed: a sized iterable."""
        ...

    def loss(self, batch: Any) -> Any:
        """A scalar tensor."""
        ...

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame: ...

    def parameters(self) -> int: ...

    def fingerprint(self) -> str:
        """Hash of options and training data: a checkpoint of another fingerprint is not resumed."""
        ...


@runtime_checkable
class AsksItself(Protocol):
    """A Trainable that says what it is shown in validation; without `queries` it counts as a predictor of spectra."""

    def queries(self, val: pl.DataFrame) -> pl.DataFrame:
        """The visible columns (`identifier` among them) of those rows that can be predicted and scored."""
        ...
