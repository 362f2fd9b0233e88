"""What the bridges share: the inner model, its fitting by its own headline number, and its place on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl
from pydantic import Field

from ...errors import ConfigError
from ...provenance import write_json
from ...tasks import TASKS
from .. import MODELS
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind

#: Which bridge makes a ranker of a model of which task.
BRIDGES = {"fingerprint": "rank-by-fingerprint", "spectrum-prediction": "rank-by-spectra"}


class BridgeOptions(Options):
    """The inner model of a bridge."""

    of: str = Field(description="name of the model that predicts")
    options: dict[str, Any] = Field(default_factory=dict, description="that model's own options")


class Bridge:
    """A ranker made of an inner model. A subclass names the inner task, and ranks."""

    task = "retrieval"
    name: ClassVar[str]
    inner_task: ClassVar[str]
    inner_metric: ClassVar[str]  # chooses the inner model's epoch: mean over molecules on validation
    Options: ClassVar[type[BridgeOptions]]

    def __init__(self, **options: Any) -> None:
        self.options: Any = parse_options(self.Options, options, where=f"model {self.name!r}")
        if self.options.of in BRIDGES.values():
            raise _impossible(self.options.of, "a bridge itself", self.name)
        self.inner: Any = MODELS[self.options.of](**self.options.options)
        if self.inner.task != self.inner_task:
            raise _impossible(self.options.of, f"of the task {self.inner.task!r}", self.name)
        self._cache: Path | None = None

    @property
    def kind(self) -> Kind:
        """What the inner model knows is what the ranker knows."""
        kind: Kind = self.inner.kind
        return kind

    def inner_records(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The records that the inner model learns from, as its own task shows them."""
        task = TASKS[self.inner_task]()
        bare = frame.drop("candidates", "candidate_smiles", strict=False)
        records: pl.DataFrame = task.training_view(task.eligible(bare))
        return records

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        """Fit the inner model in `folder/inner`; candidates play no part in it."""
        self._cache = context.cache
        score = _per_molecule(TASKS[self.inner_task](), self.inner_metric)
        inside = replace(context, folder=context.folder / "inner", score=score)
        inside.folder.mkdir(parents=True, exist_ok=True)
        report: FitReport = self.inner.fit(self.inner_records(train), self.inner_records(val), inside)
        return replace(report, notes={**report.notes, "inner": self.options.of, "inner_metric": self.inner_metric})

    def parameters(self) -> int:
        return int(self.inner.parameters())

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.inner.save(folder / "inner")
        cache = None if self._cache is None else str(self._cache)
        write_json(folder / "bridge.json", {"options": self.options.model_dump(), "cache": cache})

    @classmethod
    def load(cls, folder: Path) -> Self:
        record = json.loads((folder / "bridge.json").read_text(encoding="utf-8"))
        model = cls(**record["options"])
        model.inner = MODELS[model.options.of].load(folder / "inner")
        if record["cache"] is not None and Path(record["cache"]).is_dir():
            model._cache = Path(record["cache"])
        return model


def _per_molecule(task: Any, metric: str) -> Callable[[pl.DataFrame, pl.DataFrame], float]:
    """(predictions, truth) → the metric, averaged within each molecule first; a missing prediction fails."""

    def score(predictions: pl.DataFrame, truth: pl.DataFrame) -> float:
        values = task.score(predictions, truth, [metric], missing="fail")
        molecules = values.join(truth.select("identifier", "inchikey14"), on="identifier").group_by("inchikey14")
        mean = molecules.agg(pl.col(metric).mean()).select(pl.col(metric).mean()).item()
        return float("nan") if mean is None else float(mean)

    return score


def _impossible(of: str, what: str, bridge: str) -> ConfigError:
    wanted = next(task for task, name in BRIDGES.items() if name == bridge)
    return ConfigError(
        f"{of!r} is {what} and cannot rank through {bridge!r}",
        where=f"model {bridge!r}",
        remedy=f"name a model of the task {wanted!r}",
    )


def as_ranker(name: str, options: Mapping[str, Any], ranking: Mapping[str, Any] | None = None) -> Any:
    """A model for the task retrieval: the named one, or the bridge around it.

    Args:
        name: any registered model.
        options: that model's options.
        ranking: options of the bridge (`similarity`, …); none for a model that ranks by itself.

    Raises:
        ConfigError: a model of a task from which no ranking follows, or `ranking` for one that needs no bridge.
    """
    model = MODELS[name](**options)
    if model.task == "retrieval":
        if ranking:
            raise ConfigError(
                f"{name!r} ranks by itself: options of ranking do not apply",
                where="ranking",
                remedy=f"leave out {', '.join(sorted(ranking))}",
            )
        return model
    if model.task not in BRIDGES:
        known = ", ".join(sorted(BRIDGES))
        raise ConfigError(
            f"{name!r} is a model of the task {model.task!r}, from which no ranking of candidates follows",
            remedy=f"choose a ranker, or a model of one of: {known}",
        )
    return MODELS[BRIDGES[model.task]](of=name, options=dict(options), **(ranking or {}))
