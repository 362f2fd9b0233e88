"""What the bridges share: the inner model, its fitting by its own headline number, and its place on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl
from pydantic import Field

from ...errors import ConfigError
from ...provenance import write_json
from .. import MODELS
from ..inner import INNER, Around, fit_inner, inputs_of
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind

#: Which bridge makes a ranker of a model of which task.
BRIDGES = {"fingerprint": "rank-by-fingerprint", "spectrum-prediction": "rank-by-spectra"}
#: The task of a model that serves whichever it is told (`external`).
ANY_TASK = "any"
_PAGE = "docs/controls.md, Bridges"


class BridgeOptions(Options):
    """The inner model of a bridge."""

    of: str = Field(description="name of the model that predicts")
    options: dict[str, Any] = Field(default_factory=dict, description="that model's own options")


class Bridge(Around):
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

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Hashes of the files that the inner model answers from, where it says so."""
        chosen: Any = parse_options(cls.Options, options, where=f"model {cls.name!r}")
        return inputs_of(chosen.of, chosen.options)

    def check_start(self, parent: Any, head: str = "keep") -> None:
        """Starts from a bridge around a model that the inner one can start from; `ranking` may differ."""
        check = getattr(self.inner, "check_start", None)
        if check is None or type(parent) is not type(self):
            what = f"{self.options.of!r} learns nothing" if check is None else "the row it starts from ranks otherwise"
            raise ConfigError(what, remedy="start a trained network from a row of the same model")
        check(parent.inner, head)

    def start_from(self, folder: Path, head: str = "keep") -> None:
        """Weights of the inner model of a saved bridge."""
        self.inner.start_from(folder / INNER, head)

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        """Fit the inner model in `folder/inner`; candidates play no part in it."""
        self._cache = context.cache
        if context.fitted is not None:
            self.inner = MODELS[self.options.of].load(context.fitted)
            notes = {"inner": self.options.of, "fitted": str(context.fitted)}
            return FitReport(0.0, self.inner.parameters(), "fitted before", notes=notes)
        report = fit_inner(self.inner, self.inner_metric, train, val, context)
        return replace(report, notes={**report.notes, "inner": self.options.of, "inner_metric": self.inner_metric})

    def parameters(self) -> int:
        return int(self.inner.parameters())

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.inner.save(folder / INNER)
        cache = None if self._cache is None else str(self._cache)
        write_json(folder / "bridge.json", {"options": self.options.model_dump(), "cache": cache})

    @classmethod
    def load(cls, folder: Path) -> Self:
        record = json.loads((folder / "bridge.json").read_text(encoding="utf-8"))
        model = cls(**record["options"])
        model.inner = MODELS[model.options.of].load(folder / INNER)
        if record["cache"] is not None and Path(record["cache"]).is_dir():
            model._cache = Path(record["cache"])
        return model


def _impossible(of: str, what: str, bridge: str) -> ConfigError:
    wanted = next(task for task, name in BRIDGES.items() if name == bridge)
    return ConfigError(
        f"{of!r} is {what} and cannot rank through {bridge!r}",
        where=f"model {bridge!r}",
        remedy=f"name a model of the task {wanted!r}; what can rank through what: {_PAGE}",
    )


def resolve(
    name: str, options: Mapping[str, Any], task: str, ranking: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Registered name and options of what serves `task`: the named model, or the bridge that ranks by it.

    Args:
        name: any registered model.
        options: that model's options.
        ranking: options of the bridge (`similarity`, …); none for a model that needs no bridge.

    Raises:
        ConfigError: a model of a task from which none of `task` follows, or `ranking` where no bridge is needed.
    """
    native = getattr(MODELS[name], "task", "spectrum-prediction")
    if native in (task, ANY_TASK):
        if ranking:
            raise ConfigError(
                f"{name!r} needs no bridge: options of ranking do not apply",
                where="ranking",
                remedy=f"leave out {', '.join(sorted(ranking))}; bridges: {_PAGE}",
            )
        return name, {**options, "task": task} if native == ANY_TASK else dict(options)
    if task != "retrieval" or native not in BRIDGES:
        also = ", and retrieval through a bridge" if native in BRIDGES else ""
        raise ConfigError(
            f"model {name!r} does not serve the task {task!r}", remedy=f"it serves {native!r}{also}: see {_PAGE}"
        )
    return BRIDGES[native], {"of": name, "options": dict(options), **(ranking or {})}


def as_ranker(name: str, options: Mapping[str, Any], ranking: Mapping[str, Any] | None = None) -> Any:
    """A model for the task retrieval, unfitted: the named one, or the bridge around it. Raises as `resolve`."""
    chosen, settings = resolve(name, options, "retrieval", ranking)
    return MODELS[chosen](**settings)
