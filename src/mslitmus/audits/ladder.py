"""The neighbour ladder: does a trained model stand above every look-up in its own training set, on the same queries?

Rungs are the neighbours of the run; where it has none, the look-up is made here. Above them stands the oracle, the best
training molecule, which no look-up can pass.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..metrics.intervals import cluster_bootstrap
from ..metrics.paired import holm, sign_flip
from ..metrics.summary import skill
from ..models.bridges import as_ranker
from ..models.protocol import FitContext
from .audit import Audit
from .by_molecule import averaged, per_molecule
from .evidence import Absent, Evidence
from .finding import Finding

ALPHA = 0.05
#: Test queries that a look-up made here answers, whole molecules drawn: 1,000 queries of 49,000 spectra take 10 s.
LOOKED_UP = 1000
#: What is looked up where a run has no rung of its own; the oracle copies the training molecule nearest to the truth.
LOOK_UPS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "spectrum-prediction": ("nearest-molecule", {"precursor": "replace"}),
    "fingerprint": ("nearest-spectrum", {"tiers": ["all"]}),
    "retrieval": ("nearest-spectrum", {"tiers": ["all"]}),
}


@dataclass(frozen=True)
class Rung:
    """A look-up: its name, `inchikey14` and `value` (mean over a molecule's queries), the queries it answered."""

    name: str
    values: pl.DataFrame
    identifiers: pl.Series | None = None  # None: all of the test fold


@dataclass(frozen=True)
class Step:
    """A model against a rung: mean difference per molecule (positive is better), 95 % interval, p, molecules."""

    rung: str
    difference: float
    low: float
    high: float
    p: float
    n: int

    def __str__(self) -> str:
        return f"{self.rung}: {self.difference:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def ladder(evidence: Evidence) -> list[Finding]:
    """One finding a split and trained model; Holm over all comparisons of a split. Raises Absent without models."""
    tables = evidence.tables
    trained = sorted(model for model, kind in tables.kinds.items() if kind == "trained")
    if not trained:
        raise Absent("needs a trained model in the run")
    findings: list[Finding] = []
    for split in tables.splits:
        rungs = _rungs(evidence, split)
        steps = {model: [_step(evidence, split, model, rung) for rung in rungs] for model in trained}
        adjusted = holm(np.array([step.p for each in steps.values() for step in each]))
        place = 0
        for model, own in steps.items():
            p = adjusted[place : place + len(own)]
            place += len(own)
            findings.append(_judge(evidence, split, model, own, p))
    return findings


def _rungs(evidence: Evidence, split: str) -> list[Rung]:
    """The neighbours of the run on this split, else the look-up of its task."""
    names = sorted({key.model for key in evidence.keys("neighbour") if key.split == split})
    scored = [Rung(name, per_molecule(evidence, split, name)) for name in names]
    found = [rung for rung in scored if rung.values.height]
    return found or [_looked_up(evidence, split)]


def _looked_up(evidence: Evidence, split: str) -> Rung:
    """The look-up itself, fitted on the training fold. Raises Absent for a task that has none."""
    task = evidence.require_task(*LOOK_UPS)
    name, options = LOOK_UPS[task.name]

    def make() -> Rung:
        folds = evidence.folds(split)
        test = folds["test"]
        order = test["inchikey14"].unique().sort().sample(fraction=1.0, shuffle=True, seed=0)
        sizes = pl.DataFrame({"inchikey14": order}).join(
            test.group_by("inchikey14").len(), on="inchikey14", how="left", maintain_order="left"
        )
        drawn = sizes.filter(pl.col("len").cum_sum() <= max(LOOKED_UP, int(sizes["len"][0])))
        asked = test.join(drawn.select("inchikey14"), on="inchikey14", how="semi", maintain_order="left")
        shown = f"{asked.height:,} of {test.height:,} queries"
        evidence.progress(f"{split}: looking {shown} up in {folds['train'].height:,}")
        if task.name == "retrieval":
            model = as_ranker(name, options)
        else:
            from ..models import MODELS

            model = MODELS[name](**options)
        metric = evidence.tables.primary
        with tempfile.TemporaryDirectory() as folder:
            empty = task.training_view(folds["val"].head(0))
            model.fit(task.training_view(folds["train"]), empty, FitContext(Path(folder)))
            answers = model.predict(task.queries(asked))
        scores = task.score(answers, task.truth(asked), [metric], missing="fail")
        rows = scores.join(asked.select("identifier", "inchikey14"), on="identifier")
        values = averaged(rows, [metric]).rename({metric: "value"}).sort("inchikey14")
        title = f"{name} (looked up here, {shown})"
        return Rung(title, values, asked["identifier"])

    rung: Rung = evidence.kept(("ladder", split), make)
    return rung


def _step(evidence: Evidence, split: str, model: str, rung: Rung) -> Step:
    own = per_molecule(evidence, split, model).rename({"value": "own"})
    both = own.join(rung.values, on="inchikey14").sort("inchikey14")
    way = 1.0 if evidence.tables.rising else -1.0
    differences = way * (both["own"] - both["value"]).to_numpy().astype(np.float64)
    if len(differences) < 2:
        return Step(rung.name, float("nan"), float("nan"), float("nan"), float("nan"), len(differences))
    found = cluster_bootstrap(differences, np.arange(len(differences)), average="molecule")
    p = float(sign_flip(differences[:, None])[0])
    mean, low, high = (float(each[0]) for each in (found.mean, found.low, found.high))
    return Step(rung.name, mean, low, high, p, len(differences))


def _judge(evidence: Evidence, split: str, model: str, steps: list[Step], p: np.ndarray) -> Finding:
    told = "; ".join(f"{step}, Holm p = {each:.2g}" for step, each in zip(steps, p, strict=True))
    n = max(step.n for step in steps)
    shown = f"{model} minus each rung over {n:,} molecules: {told}{_room(evidence, split, model)}"
    below = [s.rung for s, each in zip(steps, p, strict=True) if each < ALPHA and s.difference < 0]
    level = [s.rung for s, each in zip(steps, p, strict=True) if not each < ALPHA]
    if below:
        claim = f"{model} stands below {', '.join(below)} on split {split}"
        remedy = "report it beside the look-up: what it learned is less than what its training set holds"
        return Finding("ladder", "warning", claim, n, shown, remedy)
    if level:
        claim = f"{model} cannot be told from {', '.join(level)} on split {split}"
        return Finding("ladder", "note", claim, n, shown, "report the difference as it is, with its interval")
    claim = f"{model} stands above every look-up on split {split}"
    return Finding("ladder", "pass", claim, n, shown, "nothing to do")


def _room(evidence: Evidence, split: str, model: str) -> str:
    """Skill against both kinds of control, and how much of the way to the oracle a model goes."""
    tables = evidence.tables
    rows = tables.summary.filter(
        (pl.col("split") == split) & (pl.col("fold") == "test") & (pl.col("metric") == tables.primary)
        & (pl.col("average") == "molecule") & pl.col("seed").is_null()
    )  # fmt: skip
    own = rows.filter(pl.col("model") == model)
    text = ""
    for kind in ("blind", "neighbour"):
        column = f"skill_{kind}"
        if column in own.columns and own.height and own[column][0] is not None:
            text += f"; skill against the best {kind} control {own[column][0]:+.3f}"
    oracles = [name for name, kind in tables.kinds.items() if kind == "oracle"]
    bound = rows.filter(pl.col("model").is_in(oracles))["mean"].to_list()
    rungs = rows.filter(pl.col("model").is_in([m for m, k in tables.kinds.items() if k == "neighbour"]))["mean"]
    if not bound or not own.height:
        return text
    way = 1 if tables.rising else -1
    best = max(rungs.to_list(), key=lambda value: way * value) if len(rungs) else None
    gone = skill(own["mean"][0], best, bound[0], way)
    return f"{text}; the oracle has {bound[0]:.3f}" + ("" if gone is None else f", {gone:.0%} of the way from look-up")


LADDER = Audit("does a trained model stand above every look-up in its training set?", "files", ladder)
