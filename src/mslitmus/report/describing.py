"""Values of the sections that describe: training, ledger, findings, provenance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from markupsafe import Markup

from ..schemas import FOLD_NAMES
from .board import seconds_of
from .folder import RunFiles
from .numbers import MISSING, count, duration, magnitude, metric_label, score, usable
from .plot import curve


@dataclass(frozen=True)
class Training:
    """One trained cell: loss and validation score over epochs."""

    title: str
    stopped: str
    loss: Markup | None
    score: Markup | None


def training(files: RunFiles) -> list[Training]:
    """Cells that kept a history of epochs. One epoch makes no curve: then the line of text says all."""
    out = []
    for cell in files.cells:
        fit = cell.get("fit")
        history = fit.get("history") if isinstance(fit, Mapping) else None
        if not isinstance(fit, Mapping) or not isinstance(history, Sequence) or not history:
            continue
        title = f"{cell.get('model')}, {cell.get('split')} split, seed {cell.get('seed')}"
        best = fit.get("best_epoch")
        losses, scores = _points(history, "loss"), _points(history, "score")
        notes = fit.get("notes")  # of a model behind a bridge: its epochs are chosen by a metric of its own task
        inner = notes.get("inner_metric") if isinstance(notes, Mapping) else None
        measure = metric_label(str(inner or files.primary)) if inner or files.primary else "score"
        out.append(
            Training(
                title=title,
                stopped=_stopped(fit, len(history), measure if inner else None),
                loss=curve(losses, label=f"{title}: training loss", title="Training loss", best=best, css="loss")
                if len(losses) > 1
                else None,
                score=curve(scores, label=f"{title}: validation", title=f"Validation: {measure}", best=best)
                if len(scores) > 1
                else None,
            )
        )
    return out


def _points(history: Sequence[Any], key: str) -> list[tuple[float, float]]:
    rows = [(e.get("epoch", i), e.get(key)) for i, e in enumerate(history) if isinstance(e, Mapping)]
    return [(float(x or 0), float(y or 0)) for x, y in rows if usable(x) and usable(y)]


def _stopped(fit: Mapping[str, Any], epochs: int, inner: str | None) -> str:
    parts = [f"{epochs} epoch{'s' if epochs > 1 else ''} in {duration(fit.get('seconds'))}"]
    by = f" by {inner}, its own task’s metric" if inner else ""
    if usable(fit.get("best_epoch")):
        parts.append(f"best: epoch {fit['best_epoch']} ({score(fit.get('best_score'))} on validation{by})")
    if fit.get("stopped"):
        parts.append(f"ended: {fit['stopped']}")
    return "; ".join(parts)


#: A rule of a study file says so in its note; of the queries that were left out the note says which.
_FILTER, _QUERIES = "study filter", re.compile(r"queries of (\w+), split (.+)")
_LEFT_OUT = {
    "askable_retrieval": "The pool holds fewer candidates than min_candidates asks for.",
    "askable_library-search": "The library holds no candidate, or not what `ask` asks for.",
    "keep_max_val_molecules": "Queries of validation molecules beyond max_val_molecules.",
    "leave_out_held_out": "Held out by the study that held_out_by names.",
    "keep_max_queries_per_molecule": "Further spectra of a molecule, above max_queries_per_molecule.",
}
_FOLDS = {"val": "validation", "test": "test"}


def ledger(files: RunFiles) -> list[tuple[str, list[dict[str, Any]]]]:
    """(heading, entries) in the order in which the rules ran; examples as (identifier, reason)."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in files.ledger or ():
        heading, note = _stage(str(entry.get("note") or ""))
        note = note or _LEFT_OUT.get(str(entry.get("rule")), "")
        did = {key: entry.get(key) for key in ("dropped", "changed", "marked")}
        groups.setdefault(heading, []).append(
            {
                "rule": re.findall(r"[^_]*_|[^_]+", str(entry.get("rule", MISSING))),  # may break after each _
                "rows_in": count(entry.get("rows_in")),
                **{key: _nonzero(value) for key, value in did.items()},
                "idle": not any(did.values()),
                "note": re.split(r"(?<=[.;]) (?=[A-Z])", note),  # a sentence a line
                "examples": [_example(example) for example in entry.get("examples") or ()],
            }
        )
    return list(groups.items())


def _stage(note: str) -> tuple[str, str]:
    """The heading that a rule stands under, and what is left of its note."""
    if note == _FILTER:
        return "Records that this study leaves out", ""
    if found := _QUERIES.fullmatch(note):
        return f"Queries left out: {found[2]} split, {_FOLDS.get(found[1], found[1])}", ""
    return "Import of the dataset", note


def _nonzero(value: Any) -> str:
    return count(value) if value else "·"


def _example(example: Any) -> tuple[str, str]:
    if isinstance(example, Mapping):
        return str(example.get("identifier", "")), str(example.get("reason", ""))
    return str(example), ""


def sizes(files: RunFiles) -> list[tuple[str, Mapping[str, Any], list[str]]]:
    """(split, record, `spectra / molecules` of train, val, test)."""
    out = []
    for split in files.split_names:
        record = files.splits.get(split, {})
        listed = record.get("sizes")
        folds = listed if isinstance(listed, Mapping) else {}
        cells = []
        for fold in FOLD_NAMES:
            size = folds.get(fold) or {}
            cells.append(f"{count(size.get('spectra'))} / {count(size.get('molecules'))}")
        out.append((split, record, cells))
    return out


def cells(files: RunFiles) -> list[dict[str, str]]:
    """Wall time and parameters of every cell."""
    return [
        {
            "split": str(cell.get("split")),
            "model": str(cell.get("model")),
            "kind": str(cell.get("kind", MISSING)),
            "seed": str(cell.get("seed", MISSING)),
            "parameters": magnitude(cell.get("parameters")),
            "options": "\n".join([*learned(cell), readable(cell.get("options") or {})]),
            **{stage: duration(seconds_of(cell, stage)) for stage in ("fit", "predict", "score")},
        }
        for cell in files.cells
    ]


def learned(cell: Mapping[str, Any]) -> list[str]:
    """What is special about a cell's training, a comment line each: part of the fold, another row's weights."""
    lines = []
    if isinstance(counts := cell.get("train_on"), Mapping):
        kept = {key: size for key, size in counts.items() if key != "label_noise"}
        last = list(kept.values())[-1]
        steps = ", ".join(key for key in kept if key != "fold")
        lines.append(
            f"# trained on {count(last['spectra'])} spectra of {count(last['molecules'])} molecules"
            + (f" (of {count(kept['fold']['molecules'])}: {steps})" if steps else "")
        )
        if isinstance(noise := counts.get("label_noise"), Mapping):
            lines.append(f"# {count(noise.get('spectra'))} spectra with another molecule's structure")
    if isinstance(start := cell.get("start_from"), Mapping):
        head = ", a new head" if start.get("head") == "anew" else ""
        lines.append(
            f"# weights of {start.get('model')}{head}" + ("" if start.get("fine_tune", True) else ", as they are")
        )
    if cell.get("fitted"):
        lines.append(f"# fitted in {cell['fitted']}")
    return lines


def readable(options: Mapping[str, Any]) -> str:
    """Options as one would write them in a study file: a line a key, what is nested in braces or brackets."""
    if not options:
        return ""
    text = yaml.safe_dump(dict(options), default_flow_style=None, sort_keys=False, allow_unicode=True, width=60)
    return str(text).strip().removeprefix("{").removesuffix("}") if text.startswith("{") else str(text).strip()


def facts(files: RunFiles) -> list[tuple[str, str]]:
    """What identifies data, code and machine, as (name, value)."""
    data, origin = files.dataset or {}, files.provenance or {}
    selected = data.get("selected") or {}
    counts = data.get("counts") or {}
    pairs = [
        ("Dataset", f"{data['name']}, revision {data['revision']}" if "revision" in data else data.get("name")),
        ("Dataset hash", data.get("hash")),
        ("Records in the dataset", _both(counts)),
        ("Records in this study", _both(selected)),
        ("Hash of the study's records", selected.get("hash")),
        ("Imported", data.get("saved")),
        ("Source", data.get("url") or data.get("source") or data.get("revision_id")),
        ("Citation", data.get("citation")),
        ("Hash of the study file", origin.get("study")),
        ("System", _machine(origin)),
        ("Seeds", ", ".join(sorted({str(c["seed"]) for c in files.cells if c.get("seed") is not None}))),
        ("Wall time", _sessions(origin)),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "", MISSING)]


def _both(counts: Mapping[str, Any]) -> str | None:
    if not usable(counts.get("spectra")):
        return None
    return f"{count(counts['spectra'])} spectra of {count(counts.get('molecules'))} molecules"


def _machine(origin: Mapping[str, Any]) -> str:
    cpus = f"{origin['cpus']} CPUs" if usable(origin.get("cpus")) else None
    return ", ".join(str(part) for part in (origin.get("system"), origin.get("machine"), cpus) if part)


def _sessions(origin: Mapping[str, Any]) -> str | None:
    sessions = [s for s in origin.get("sessions") or () if isinstance(s, Mapping)]
    if not sessions:
        return None
    total = sum(float(s["seconds"]) for s in sessions if usable(s.get("seconds")))
    resumed = f" in {len(sessions)} sessions" if len(sessions) > 1 else ""
    return f"{duration(total)}{resumed}; begun {sessions[0].get('begun', MISSING)}"


def licences(files: RunFiles) -> list[tuple[str, str]]:
    """Licence → number of the study's spectra, most frequent first."""
    data = files.dataset or {}
    found = (data.get("selected") or {}).get("licenses") or data.get("licenses") or {}
    if not isinstance(found, Mapping):
        return [(str(name), "") for name in found] if isinstance(found, list) else [(str(found), "")]
    return [(str(k), count(n)) for k, n in sorted(found.items(), key=lambda kv: -kv[1] if usable(kv[1]) else 0)]
