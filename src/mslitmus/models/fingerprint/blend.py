"""fingerprint-blend: several fingerprint predictors as one, weighed on validation by the metric that is reported.

    p = Σ w_m p_m,  Σ w_m = 1;  handed out as σ(logit p − logit c), so that 0.5 stands at the cut c

Weights are found by greedy selection with replacement (Caruana et al., ICML 2004): in each of `rounds` the member joins
that helps the most, each at the best of `cuts`, and the round that was best ends the list. (The cut cannot wait until
the weights are there: beside a copied bit, which is 1 or 0, no second opinion ever crosses 0.5.) A look-up knows its
neighbours by heart and a network knows what they have in common: neither holds what the other does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...errors import ConfigError, ModelError
from ...provenance import write_json
from ...tasks.measured import MEASURED, with_structure
from .. import MODELS
from ..controls.mean_fingerprint import as_fingerprints
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind

_EDGE = 1e-3  # a copied bit is 0 or 1: its logit has none


class Member(Options):
    """One predictor of fingerprints and its options."""

    model: str
    options: dict[str, Any] = Field(default_factory=dict, description="that model's own options")


class FingerprintBlendOptions(Options):
    """Options of `fingerprint-blend`."""

    members: tuple[Member, ...] = Field(
        (Member(model="nearest-spectrum"), Member(model="binned-mlp")), min_length=2, max_length=20
    )
    rounds: int = Field(6, ge=1, le=100, description="of greedy selection: weights are multiples of 1/rounds or more")
    cuts: tuple[float, ...] = Field((0.2, 0.3, 0.4, 0.5, 0.6), min_length=1)


class FingerprintBlend:
    """Fits its members one after the other, then weighs them."""

    task = "fingerprint"
    name = "fingerprint-blend"

    def __init__(self, **options: Any) -> None:
        where = f"model {self.name!r}"
        self.options = parse_options(FingerprintBlendOptions, options, where=where)
        if any(not 0 < cut < 1 for cut in self.options.cuts):
            raise ConfigError("a cut is not between 0 and 1", where=where, remedy="cuts: [0.3, 0.4, 0.5]")
        self.members: list[Any] = [MODELS[each.model](**each.options) for each in self.options.members]
        for each, model in zip(self.options.members, self.members, strict=True):
            if model.task != self.task:
                what = f"member {each.model!r} is of the task {model.task!r}"
                raise ConfigError(what, where=where, remedy="name predictors of fingerprints")
        self.weights: tuple[float, ...] = ()
        self.cut = 0.5

    @property
    def kind(self) -> Kind:
        """That of the member that knows most."""
        order: Sequence[Kind] = ("blind", "neighbour", "trained", "oracle")
        return max((model.kind for model in self.members), key=order.index)

    def check_task(self, task: Any) -> None:
        """What a member has to say against the task, before any work."""
        for model in self.members:
            check: Callable[[Any], None] | None = getattr(model, "check_task", None)
            if check is not None:
                check(task)

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        if context.fitted is not None:
            known = type(self).load(context.fitted)
            self.members, self.weights, self.cut = known.members, known.weights, known.cut
            return FitReport(0.0, self.parameters(), "fitted before", notes=self._notes())
        for number, (each, model) in enumerate(zip(self.options.members, self.members, strict=True)):
            context.progress(f"member {number + 1} of {len(self.members)}: {each.model}")
            own = replace(context, folder=context.folder / f"member-{number}")
            own.folder.mkdir(parents=True, exist_ok=True)
            model.fit(train, val, own)
        asked = with_structure(val)
        if asked.is_empty():
            raise ModelError("no validation spectrum has a structure to weigh members by", remedy="check the split")
        best = self._weigh(asked, context)
        seconds = time.perf_counter() - started
        return FitReport(seconds, self.parameters(), "weighed on validation", best_score=best, notes=self._notes())

    def _notes(self) -> dict[str, Any]:
        named = [each.model for each in self.options.members]
        return {"members": named, "weights": list(self.weights), "cut": self.cut}

    def _weigh(self, val: pl.DataFrame, context: FitContext) -> float:
        """Sets weights and cut; returns the validation score."""
        visible = [name for name in (*MEASURED, "formula") if name in val.columns]
        queries = val.select(visible)
        answers = [self._values(model, queries) for model in self.members]

        def score(counts: NDArray[np.int64], cut: float) -> float:
            p = sum(count * values for count, values in zip(counts.tolist(), answers, strict=True) if count)
            return context.score(as_fingerprints(queries["identifier"], _moved(p / counts.sum(), cut)), val)

        counts, kept, best = np.zeros(len(answers), np.int64), np.zeros(len(answers), np.int64), -np.inf
        for _ in range(self.options.rounds):
            joined = [
                (counts + unit, cut) for unit in np.eye(len(answers), dtype=np.int64) for cut in self.options.cuts
            ]
            scores = [score(*each) for each in joined]
            counts, cut = joined[int(np.argmax(scores))]
            if max(scores) > best:
                kept, best, self.cut = counts, max(scores), cut
        self.weights = tuple((kept / kept.sum()).tolist())
        shares = ", ".join(f"{each.model} {w:.2f}" for each, w in zip(self.options.members, self.weights, strict=True))
        context.progress(f"weighed on {val.height:,} validation spectra: {shares}; cut {self.cut:g}")
        return best

    def _values(self, model: Any, queries: pl.DataFrame) -> NDArray[np.float32]:
        """(n, 2048) of a member, in the order asked; a query it skips is told nothing: zeros."""
        found = queries.select("identifier").join(
            model.predict(queries), on="identifier", how="left", maintain_order="left"
        )["fingerprint"]
        bits = max(int(found.list.len().max() or 0), 1)  # type: ignore[arg-type]
        blank = pl.Series([[0.0] * bits], dtype=pl.List(pl.Float32))
        whole = found.fill_null(blank[0]) if found.null_count() else found
        values: NDArray[np.float32] = whole.list.explode().to_numpy().reshape(len(found), bits)
        return values

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        if not self.weights:
            raise ModelError(f"{self.name} was not fitted", remedy="call fit, or load a saved one")
        used = [(w, model) for w, model in zip(self.weights, self.members, strict=True) if w]
        p = sum(w * self._values(model, queries) for w, model in used)
        return as_fingerprints(queries["identifier"], _moved(np.asarray(p), self.cut))

    def parameters(self) -> int:
        return sum(int(model.parameters()) for model in self.members)

    def save(self, folder: Path) -> None:
        """options.json, weights.json and a folder a member."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "options.json", self.options.model_dump(mode="json"))
        write_json(folder / "weights.json", {"weights": list(self.weights), "cut": self.cut})
        for number, model in enumerate(self.members):
            model.save(folder / f"member-{number}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = cls(**json.loads((folder / "options.json").read_text(encoding="utf-8")))
        record = json.loads((folder / "weights.json").read_text(encoding="utf-8"))
        model.weights, model.cut = tuple(record["weights"]), float(record["cut"])
        named = enumerate(model.options.members)
        model.members = [MODELS[each.model].load(folder / f"member-{number}") for number, each in named]
        return model


def _moved(p: NDArray[Any], cut: float) -> NDArray[np.float32]:
    """Probabilities moved so that `cut` becomes 0.5; their order stays."""
    held = np.clip(p, _EDGE, 1 - _EDGE)
    logits = np.log(held / (1 - held)) - np.log(cut / (1 - cut))
    moved: NDArray[np.float32] = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return moved
