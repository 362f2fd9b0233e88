"""The laboratory of the lie detector: plant a cheat, run it as an ordinary study, examine the run, note who spoke.

A subject is a liar, or the honest models of one task together. Each trial (subject × source × seed × dose) is a run
folder and a table FINDINGS; the verdicts are made from the tables alone (`studies.verdicts`).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from ..audits import AUDITS
from ..audits.examination import examined, names_of
from ..audits.liars import HONEST, LIARS, Honest, Liar, World, plant_models
from ..audits.liars.liar import share
from ..data import store
from ..data.candidates import CandidateSet
from ..data.ledger import Ledger, LedgerEntry
from ..data.splits import make_split
from ..errors import RunError
from .config import StudyConfig
from .evidence import evidence_of
from .runner import run

FRACTIONS = (0.6, 0.15, 0.25)
RESAMPLES = 400
#: task → controls of the study, metrics (the first is the primary one).
STUDIES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "retrieval": (
        ("random-ranking", "first-candidate", "candidate-recurrence", "smiles-style", "formula-only", "structure-only",
         "nearest-spectrum"),
        ("mrr", "hit@1"),
    ),
    "fingerprint": (("mean-fingerprint", "nearest-spectrum"), ("fp-tanimoto-soft", "fp-tanimoto@0.5")),
    "spectrum-prediction": (("precursor-only", "nearest-molecule"), ("cosine@0.1Da", "cosine@0.1Da:no-precursor")),
}  # fmt: skip
#: One row a finding; a trial without findings has one row with nulls there.
FINDINGS: Any = {
    "subject": pl.String, "honest": pl.Boolean, "source": pl.String, "seed": pl.Int64, "dose": pl.Float64,
    "audit": pl.String, "severity": pl.String, "claim": pl.String, "names": pl.List(pl.String), "not_run": pl.String,
    "error": pl.String, "seconds": pl.Float64,
}  # fmt: skip
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """Spectra and, for each of their molecules, pools: what worlds are drawn from."""

    name: str
    spectra: pl.DataFrame
    pools: Mapping[str, CandidateSet]

    def world(self, seed: int, molecules: int, per_molecule: int = 6) -> World:
        """`molecules` of them drawn by the seed, at most so many spectra each, split by molecule."""
        keys = self.spectra["inchikey14"].unique().sort()
        for pools in self.pools.values():
            keys = keys.filter(keys.is_in(pools.molecules))
        drawn = keys.sample(min(molecules, keys.len()), seed=seed).sort()
        rows = self.spectra.filter(pl.col("inchikey14").is_in(drawn.implode())).sort("inchikey14", "identifier")
        place = rows.select(pl.col("identifier").hash(seed).rank("ordinal").over("inchikey14")).to_series()
        rows = rows.filter(place <= per_molecule)
        folds = make_split(rows, "molecule", seed=seed, fractions=FRACTIONS).folds
        return World(rows, folds, {kind: s.select(drawn) for kind, s in self.pools.items()}, seed=seed)


@contextmanager
def home(folder: Path) -> Iterator[None]:
    """The store is here meanwhile: planted data never meets the user's own."""
    before = os.environ.get("MSLITMUS_HOME")
    os.environ["MSLITMUS_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MSLITMUS_HOME"]
        else:
            os.environ["MSLITMUS_HOME"] = before


def together(source: str, liars: Sequence[Liar] = LIARS) -> list[tuple[Liar, ...]]:
    """Liars in groups that one run serves: the same task in the same world."""
    groups: dict[Any, list[Liar]] = {}
    for liar in liars:
        if source in liar.sources:
            key = (liar.task, tuple(liar.task_options.items()), liar.plant)
            groups.setdefault(key, []).append(liar)
    return [tuple(group) for group in groups.values()]


def liar_trial(
    liars: Sequence[Liar], world: World, folder: Path, dose: float | None = None, controls: bool = True
) -> tuple[Path, World]:
    """The run of liars of one world beside their honest versions and the controls: its folder, and the planted world.

    Without a `dose` each liar takes its own. `controls=False` leaves out all that nothing here is compared with.
    """
    first, rows = liars[0], []
    for liar in liars:
        own = liar.row(liar.dose if dose is None else dose)
        rows += [row for row in ({**own, "name": liar.name}, liar.honest) if row not in rows]
    planted = first.plant(world, first.dose if dose is None else dose)
    return study_run(planted, first.task, first.task_options, rows, folder, controls), planted


def honest_trial(task: str, world: World, folder: Path, honest: Sequence[Honest] | None = None) -> Path:
    """The run of all honest models of a task (default: HONEST) beside the controls."""
    here = [each for each in (HONEST if honest is None else honest) if each.task == task]
    return study_run(world, task, here[0].task_options, [{**each.row, "name": each.name} for each in here], folder)


def study_run(
    world: World, task: str, options: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], folder: Path,
    with_controls: bool = True,
) -> Path:  # fmt: skip
    """Save the world as dataset, folds and candidates, and run the study, as anybody would."""
    plant_models()
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9]+", "-", folder.name)
    entry = LedgerEntry("plant", world.spectra.height)
    store.save(name, world.spectra, Ledger((entry,)), {"title": "a world of liars", "license": "not stated"})
    split: dict[str, Any] = {"method": "molecule", "name": "molecule", "seed": world.seed}
    if world.own_folds:
        world.folds.write_csv(folder / "folds.csv")
        split = {"method": "folds", "name": "molecule", "parameters": {"path": str(folder / "folds.csv")}}
    else:
        split["parameters"] = {"fractions": list(FRACTIONS)}
    settings = dict(options)
    if task == "retrieval":
        pools = world.pools[settings["kind"]].save(folder / "candidates")
        settings |= {"candidates": str(pools), "min_candidates": 2}
    controls, metrics = STUDIES[task]
    every = [_filled(row, world, folder) for row in rows]
    known = {row.get("name", row["model"]) for row in every}
    study = StudyConfig.model_validate(
        {
            "name": name, "task": task, "task_options": settings, "data": {"name": name}, "splits": [split],
            "models": [*every, *({"model": each} for each in controls if with_controls and each not in known)],
            "metrics": list(metrics), "primary_metric": metrics[0], "difficulty": False,
            "statistics": {"resamples": RESAMPLES}, "budget": {"threads": 1, "device": "cpu"},
        }
    )  # fmt: skip
    return run(study, folder / "run", progress=lambda line: None)


def _filled(row: Mapping[str, Any], world: World, folder: Path) -> dict[str, Any]:
    """`{answers:SHARE}` and `{list}` of the option `file` become paths of what they say."""
    file = row.get("options", {}).get("file")
    if file is None:
        return dict(row)
    if file == "{list}":
        path, table = folder / "list.parquet", world.lists[0].molecules
    else:
        path, table = folder / "answers.parquet", _answers(world, float(file.strip("{}").partition(":")[2]))
    table.write_parquet(path)
    return {**row, "options": {**row["options"], "file": str(path)}}


def _answers(world: World, told: float) -> pl.DataFrame:
    """The held-out queries, with their answers, of a share of the held-out molecules."""
    held = world.spectra.drop("fold").join(world.folds, on="identifier").filter(pl.col("fold") != "train")
    known = sorted(share(held["inchikey14"].to_list(), told, f"answers {world.seed}"))
    return held.filter(pl.col("inchikey14").is_in(known))


def examine_trial(
    folder: Path,
    world: World,
    liars: Sequence[Liar],
    source: str,
    dose: float | None = None,
    names: Sequence[str] | None = None,
    honest: Sequence[Honest] | None = None,
) -> pl.DataFrame:
    """FINDINGS of a finished trial: every audit, those that ask the model included, a block a subject.

    No `liars`: the trial of the `honest` models of a task (default: HONEST), all of them one subject.
    """
    evidence = evidence_of(folder, live=True, pretraining=world.lists)
    scores, metric = pl.read_parquet(folder / "scores.parquet"), evidence.tables.primary
    claims = [
        claim for liar in liars for claim in liar.claims(scores, liar.name, metric, 1.0 if dose is None else dose)
    ]
    evidence = replace(evidence, claims=tuple(claims))
    models = sorted(evidence.tables.kinds)
    rows: list[dict[str, Any]] = []
    for outcome in examined(AUDITS, evidence, names or names_of(AUDITS, ("quick", "files", "live"))):
        failed = None if outcome.error is None else repr(outcome.error)
        ran = {"audit": outcome.name, "not_run": outcome.not_run, "error": failed, "seconds": outcome.seconds}
        rows += [
            {**ran, "severity": f.severity, "claim": f.claim, "names": named(f.claim, models)}
            for f in outcome.findings
        ] or [ran]  # fmt: skip
    common = {"source": source, "seed": world.seed}
    subjects = [(liar.name, False, liar.dose) for liar in liars] or [
        (_honest_of(models, HONEST if honest is None else honest), True, 0.0)
    ]
    blocks = [
        {"subject": who, "honest": fair, **common, "dose": own if dose is None else dose, **row}
        for who, fair, own in subjects
        for row in rows
    ]
    return pl.DataFrame(blocks, schema=FINDINGS, orient="row")


def _honest_of(models: Sequence[str], honest: Sequence[Honest]) -> str:
    """The task whose honest models these are."""
    return next(each.task for each in honest if each.name in models)


def named(claim: str, models: Sequence[str]) -> list[str]:
    """Rows of the study that a claim names: whole names, the longest first."""
    found, rest = [], claim
    for model in sorted(models, key=len, reverse=True):
        rest, count = re.subn(rf"(?<![\w-]){re.escape(model)}(?![\w-])", "·", rest)
        if count:
            found.append(model)
    return sorted(found)


def gain(folder: Path, liar: Liar) -> dict[str, float]:
    """The primary metric on test, mean over molecules: of the liar, of its honest version."""
    summary = pl.read_parquet(folder / "summary.parquet")
    metric = STUDIES[liar.task][1][0]
    rows = summary.filter(
        (pl.col("fold") == "test") & (pl.col("metric") == metric) & (pl.col("average") == "molecule")
    ).group_by("model").agg(pl.col("mean").mean())  # fmt: skip
    means = dict(rows.iter_rows())
    honest = liar.honest.get("name", liar.honest["model"])
    if liar.name not in means or honest not in means:
        raise RunError(f"no {metric} of {liar.name!r} and {honest!r}", where=str(folder), remedy="run the trial again")
    return {"liar": means[liar.name], "honest": means[honest]}


def discard(folder: Path) -> None:
    """Remove a trial's run and its dataset: a thousand trials would fill a disk."""
    shutil.rmtree(folder, ignore_errors=True)
    name = re.sub(r"[^A-Za-z0-9]+", "-", folder.name)
    for path in (store.home() / "datasets").glob(f"{name}*"):
        shutil.rmtree(path, ignore_errors=True)


__all__ = [
    "FINDINGS",
    "STUDIES",
    "Source",
    "discard",
    "examine_trial",
    "gain",
    "honest_trial",
    "liar_trial",
    "together",
]
