"""A model card: one page about one model of a run, as values. Mitchell et al., Model Cards, FAT* 2019.

Everything is read from the run folder: what the model is, what it was trained and judged on, how well it does beside
what learns nothing, what the audits say, where it is weak, and how to make it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from ..errors import RunError, unknown_name
from ..lineage import named
from .board import Entry, board, chosen, merit
from .describing import facts, licences, readable
from .finding import sentence
from .findings import Shown, examined, mentions
from .folder import RunFiles, read_run
from .numbers import MISSING, count, directed, duration, interval, magnitude, metric_label, percent, score, usable
from .page import environment, static, write

#: Facts of the run that a card tells elsewhere, or not at all.
_LEFT_OUT = ("Hash of the study file", "Seeds", "Wall time", "System")
_ENCODER, _HEAD = "encoder", "head"


@dataclass(frozen=True)
class Row:
    """One metric on one split: per molecule with interval, per spectrum; best trivial models and skill against them."""

    metric: str
    value: str
    interval: str
    per_spectrum: str
    blind: str
    neighbour: str
    skill_blind: str
    skill_neighbour: str


@dataclass(frozen=True)
class SplitPart:
    """One split: what it is, how hard, what the model reaches."""

    name: str
    lead: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    weak: tuple[tuple[str, str, str, str], ...]  # stratum, worst level, score with interval, molecules


@dataclass(frozen=True)
class Card:
    model: str
    kind: str
    run: str
    title: str
    task: str
    simulated: bool
    about: tuple[tuple[str, str], ...]
    options: str
    data: tuple[tuple[str, str], ...]
    licences: tuple[tuple[str, str], ...]
    splits: tuple[SplitPart, ...]
    findings: tuple[Shown, ...]  # that name the model, but for passes
    around: tuple[Shown, ...]  # that name no model: of data and splits
    passed: int
    audited: str
    training: tuple[tuple[str, ...], ...]  # split, seed, seconds, epochs, end, machine
    commands: tuple[str, ...]
    entry: str
    citation: str


def write_cards(run: Path, model: str | None = None, out: Path | None = None) -> list[Path]:
    """Write `<out>/<model>.md` and `.html` of one model, or of every trained one; returns their paths.

    Args:
        out: default `cards` in the run folder.
    Raises ConfigError for an unknown model, RunError for a folder that is no scored run.
    """
    from .card_text import markdown

    files = read_run(run)
    names = list(dict.fromkeys(str(cell.get("model")) for cell in files.cells))
    if files.summary is None or not names:
        remedy = "finish it with `mslitmus run`"
        raise RunError("no scores yet", where=str(run / "summary.parquet"), remedy=remedy)
    if model is not None and model not in names:
        raise unknown_name("model of this run", model, names)
    wanted = [model] if model else [name for name in names if files.kind(name) == "trained"] or names
    template = environment().get_template("card.html.j2")
    written = []
    for name in wanted:
        card = card_of(files, name)
        place = (out or run / "cards") / name
        written.append(write(markdown(card), place.with_name(f"{name}.md")))
        page = template.render(card=card, style=static("style.css"))
        written.append(write(page, place.with_name(f"{name}.html")))
    return written


def card_of(files: RunFiles, model: str) -> Card:
    """The card's values, every number as text."""
    cells = [cell for cell in files.cells if cell.get("model") == model]
    config = _row(files, model)
    found = examined(files)
    names = list(dict.fromkeys(str(cell.get("model")) for cell in files.cells))
    told = _mine(found.findings, model, names) if found else ()
    around = [f for f in found.findings if not any(mentions(f.claim, n) for n in names)] if found else []
    return Card(
        model=model,
        kind=files.kind(model),
        run=files.name,
        title=files.title,
        task=files.task,
        simulated=files.simulated,
        about=_about(files, model, config, cells),
        options=readable(config.get("options") or {}),
        data=tuple((n, v) for n, v in facts(files) if n not in (*_LEFT_OUT, "Citation")) + _filters(files),
        licences=tuple(licences(files)),
        splits=tuple(_split(files, split, model) for split in files.split_names),
        findings=tuple(f for f in told if f.severity != "pass"),
        around=tuple(f for f in around if f.severity in ("fatal", "warning", "note")),
        passed=sum(f.severity == "pass" for f in (*told, *around)),
        audited=_audited(files),
        training=tuple(_training(cell) for cell in cells),
        commands=_commands(files),
        entry=yaml.safe_dump([dict(config)], sort_keys=False, allow_unicode=True).strip() if config else "",
        citation=str((files.dataset or {}).get("citation") or ""),
    )


def _mine(findings: tuple[Shown, ...], model: str, names: list[str]) -> tuple[Shown, ...]:
    """Findings that name the model. A row whose name holds this one (`net` in `net, skips`) keeps its own."""
    longer = [name for name in names if name != model and mentions(name, model)]
    return tuple(f for f in findings if mentions(_without(f.claim, longer), model))


def _without(claim: str, names: list[str]) -> str:
    for name in sorted(names, key=len, reverse=True):
        claim = claim.replace(name, "")
    return claim


def _row(files: RunFiles, model: str) -> Mapping[str, Any]:
    """The model's row in the study file, without what it leaves at its default."""
    rows = files.config.get("models") or []
    found = next((row for row in rows if isinstance(row, Mapping) and row.get("name", row.get("model")) == model), {})
    return {key: value for key, value in found.items() if value not in (None, {}, [], False)}


def _about(
    files: RunFiles, model: str, config: Mapping[str, Any], cells: list[Mapping[str, Any]]
) -> tuple[tuple[str, str], ...]:
    options = config.get("options") or {}
    size = {magnitude(cell.get("parameters")) for cell in cells if cell.get("parameters")}
    pairs = [
        ("Task", files.task),
        ("Registered model", config.get("model")),
        ("Encoder", _part(options.get(_ENCODER))),
        ("Head", _part(options.get(_HEAD))),
        (
            "Parameters",
            ", ".join(sorted(size)) or ("unknown (made elsewhere)" if config.get("model") == "external" else "0"),
        ),
        ("Comes from", ", ".join(_comes_from(options, cells))),
        ("Counts as", files.kind(model)),
        ("Seeds", ", ".join(sorted({str(cell.get("seed")) for cell in cells}))),
    ]
    return tuple((name, str(value)) for name, value in pairs if value)


def _comes_from(options: Mapping[str, Any], cells: list[Mapping[str, Any]]) -> list[str]:
    """Weights and predictors that the options name, and the row that it starts from."""
    rows = {str(cell["start_from"]["model"]) for cell in cells if cell.get("start_from")}
    return [f"{each.what} {each.path}" for each in named(options)] + [f"the row {row}" for row in sorted(rows)]


def _part(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return str(value.get("name") or "") or None
    return str(value) if value else None


def _filters(files: RunFiles) -> tuple[tuple[str, str], ...]:
    chosen_ = {k: v for k, v in (files.config.get("data") or {}).items() if k != "name" and v not in (None, [], 1)}
    return (("Filters", "; ".join(f"{k} {_plain(v)}" for k, v in chosen_.items())),) if chosen_ else ()


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _split(files: RunFiles, split: str, model: str) -> SplitPart:
    own = _entry(files, split, files.primary, "molecule", model)
    trivial = chosen(files, split, files.primary, "molecule", control=True)
    trivial = trivial if trivial is None or trivial.model != model else None
    return SplitPart(
        name=split,
        lead=sentence(files, split, own, trivial, full=True) if own else "Not scored on this split.",
        facts=_difficulty(files.splits.get(split, {}), own),
        rows=tuple(row for metric in files.metrics if (row := _metric(files, split, metric, model)) is not None),
        weak=_weak(files, split, model),
    )


def _entry(files: RunFiles, split: str, metric: str, average: str, model: str) -> Entry | None:
    return next((e for e in board(files, split, metric, average) if e.model == model), None)


def _metric(files: RunFiles, split: str, metric: str, model: str) -> Row | None:
    own, other = (_entry(files, split, metric, average, model) for average in ("molecule", "spectrum"))
    if own is None or not directed(metric):
        return None
    controls = {kind: _control(files, split, metric, kind, model) for kind in ("blind", "neighbour")}
    return Row(
        metric=metric_label(metric),
        value=score(own.mean),
        interval=interval(own.low, own.high),
        per_spectrum=score(other.mean if other else None),
        blind=controls["blind"],
        neighbour=controls["neighbour"],
        skill_blind=score(own.skill_blind, sign=True),
        skill_neighbour=score(own.skill_neighbour, sign=True),
    )


def _control(files: RunFiles, split: str, metric: str, kind: str, model: str) -> str:
    """Score and name of the best other model of a kind, chosen on validation where it was scored."""
    here = {e.model: e for e in board(files, split, metric, "molecule") if e.kind == kind and e.model != model}
    val = [e for e in board(files, split, metric, "molecule", "val") if e.model in here and e.mean is not None]
    best = max(val or here.values(), key=lambda e: merit(e, metric), default=None)
    best = None if best is None else here[best.model]
    return MISSING if best is None else f"{score(best.mean)} ({best.model})"


def _difficulty(record: Mapping[str, Any], own: Entry | None) -> tuple[tuple[str, str], ...]:
    sizes, table = record.get("sizes") or {}, record.get("difficulty") or {}
    overlap = (table.get("overlap") or {}).get("molecules") or {}
    nearest = table.get("nearest_train") or {}
    folds = ", ".join(
        f"{fold} {count(part.get('spectra'))} of {count(part.get('molecules'))} molecules"
        for fold, part in sizes.items()
    )
    pairs = [
        ("Method", f"{record.get('method', MISSING)}, seed {record.get('seed', MISSING)}"),
        ("Spectra", folds),
        ("Judged on", f"{count(own.n_queries)} test spectra of {count(own.n_molecules)} molecules" if own else ""),
        ("Answered", percent(own.coverage) if own else ""),
        ("Test molecules in train", percent(overlap.get("share")) if usable(overlap.get("share")) else "not measured"),
        ("Nearest train molecule", _nearest(nearest)),
    ]
    return tuple((name, text) for name, text in pairs if text)


def _nearest(nearest: Mapping[str, Any]) -> str:
    median = (nearest.get("quantiles") or {}).get("0.5")
    return f"median Tanimoto {score(median, 2)}, mean {score(nearest.get('mean'), 2)}" if usable(median) else ""


def _weak(files: RunFiles, split: str, model: str) -> tuple[tuple[str, str, str, str], ...]:
    """The worst level of each stratum, widest spread first."""
    if files.worst_groups is None:
        return ()
    rows = files.worst_groups.filter(
        (pl.col("split") == split) & (pl.col("model") == model) & (pl.col("metric") == files.primary)
    ).sort("spread", descending=True)
    return tuple(
        (
            row["stratum"],
            row["level"],
            f"{score(row['mean'])} {interval(row['low'], row['high'])}",
            count(row["n_molecules"]),
        )
        for row in rows.iter_rows(named=True)
    )


def _audited(files: RunFiles) -> str:
    """What the audits are of, in a sentence."""
    record = files.audit
    if not record:
        return "Only the quick audits of every run; `mslitmus audit` runs all."
    if record.get("state", {}).get("scores.parquet") != files.scores_hash:
        return "The last audit is of an earlier state of this run; these are the quick audits of the run itself."
    ran, lacking, failed = (len(record.get(key, {})) for key in ("seconds", "not_run", "failed"))
    tried = ran - len(set(record.get("seconds", {})) & {*record.get("not_run", {}), *record.get("failed", {})})
    return f"{tried} audits ran ({str(record.get('made', ''))[:10]}), {lacking} lacked an input, {failed} failed."


def _training(cell: Mapping[str, Any]) -> tuple[str, ...]:
    fit, seconds = cell.get("fit") or {}, cell.get("seconds") or {}
    machine = cell.get("environment") or {}
    epochs = f"{len(fit['history'])}, kept {fit.get('best_epoch')}" if fit.get("history") else MISSING
    where = f"{machine.get('machine', MISSING)}, {machine.get('cpus', MISSING)} CPUs"
    return (
        str(cell.get("split")),
        str(cell.get("seed")),
        duration(seconds.get("fit")),
        epochs,
        str(fit.get("stopped") or MISSING),
        where,
    )


def _commands(files: RunFiles) -> tuple[str, ...]:
    folder, data = files.folder.name, files.dataset or {}
    get = (f"mslitmus data get {data['catalogue']}",) if data.get("catalogue") else ()
    return (
        *get,
        f"mslitmus run {folder}/config.yaml --name {_quoted(files.name)}-again",
        f"mslitmus audit {_quoted(folder)}",
    )


def _quoted(text: str) -> str:
    return f"'{text}'" if " " in text else text
