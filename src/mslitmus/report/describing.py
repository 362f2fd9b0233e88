"""Values of the sections that describe: split difficulty, training, examples, ledger, findings, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from ..chem.molecule import draw_svg
from ..errors import ChemistryError
from ..schemas import FOLD_NAMES
from .board import seconds_of
from .folder import RunFiles
from .mirror import mirror
from .numbers import (
    MISSING,
    count,
    duration,
    magnitude,
    metric_label,
    mz,
    score,
    tolerance,
    usable,
)
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
        measure = metric_label(files.primary) if files.primary else "score"
        out.append(
            Training(
                title=title,
                stopped=_stopped(fit, len(history)),
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


def _stopped(fit: Mapping[str, Any], epochs: int) -> str:
    parts = [f"{epochs} epoch{'s' if epochs > 1 else ''} in {duration(fit.get('seconds'))}"]
    if usable(fit.get("best_epoch")):
        parts.append(f"best: epoch {fit['best_epoch']} ({score(fit.get('best_score'))} on validation)")
    if fit.get("stopped"):
        parts.append(f"ended: {fit['stopped']}")
    return "; ".join(parts)


@dataclass(frozen=True)
class Card:
    """One mirror plot with its molecule and facts."""

    rank: str
    score: str
    metric: str
    name: str
    facts: tuple[tuple[str, str], ...]
    smiles: str
    plot: Markup
    molecule: Markup | None


def examples(table: pl.DataFrame | None, files: RunFiles, split: str) -> list[tuple[str, list[Card]]]:
    """(trained model, its cards of `table` in the order of their ranks) of one split."""
    if table is None:
        return []
    here = table.filter(pl.col("split") == split)
    order = ("best", "median", "worst", *map(str, range(1, 100)))
    out = []
    for model in here["model"].unique(maintain_order=True).to_list():
        if files.kind(model) != "trained":
            continue
        rows = list(here.filter(pl.col("model") == model).iter_rows(named=True))
        rows.sort(key=lambda row: order.index(row["rank"]) if row["rank"] in order else len(order))
        out.append((model, [_card(row) for row in rows]))
    return out


def _card(row: Mapping[str, Any]) -> Card:
    energy = _energy(row)
    name = row["name"] or row["identifier"] or MISSING
    facts = [
        ("Adduct", row["adduct"] or "unstated"),
        ("Precursor", f"m/z {mz(row['precursor_mz'])}"),
        ("Energy", energy),
        ("Instrument", row["instrument_type"] or "unstated"),
        ("Record", row["identifier"] or MISSING),
    ]
    label = (
        f"Mirror plot of {name}, {row['rank']} of {row['model']}: {metric_label(row['metric'] or '')} "
        f"{score(row['score'])}, {row['adduct'] or 'adduct unstated'}, {energy}"
    )
    return Card(
        rank=row["rank"] or "",
        score=score(row["score"]),
        metric=metric_label(row["metric"] or ""),
        name=name,
        facts=tuple(facts),
        smiles=row["smiles"] or "",
        plot=mirror(
            (row["mzs"] or [], row["intensities"] or []),
            (row["predicted_mzs"] or [], row["predicted_intensities"] or []),
            row["precursor_mz"],
            tolerance(row["metric"] or ""),
            label,
        ),
        molecule=_molecule(row["smiles"], name),
    )


def _energy(row: Mapping[str, Any]) -> str:
    """The number with a unit only where the record's kind is known to give one."""
    if not usable(row["collision_energy"]):
        return "unstated"
    kind = row.get("collision_energy_kind")
    unit = {"eV": " eV", "NCE": " eV (from NCE)", "resonant-%": " % (resonant)"}.get(kind or "", "")
    if not unit and kind:
        unit = f" ({kind})"
    return f"{row['collision_energy']:.3g}{unit}"


def _molecule(smiles: str | None, name: str) -> Markup | None:
    """RDKit's drawing, made scalable and named for screen readers; None where the SMILES does not parse."""
    if not smiles:
        return None
    try:
        drawing = draw_svg(smiles, 220, 150)
    except ChemistryError:
        return None
    head, _, body = drawing.partition(">")
    body = body.replace("<!-- END OF HEADER -->", "")
    label = Markup.escape(f"Structure of {name}")
    return Markup(f'<svg class="molecule" viewBox="0 0 220 150" role="img" aria-label="{label}">{body}' if head else "")


def ledger(files: RunFiles) -> list[dict[str, Any]]:
    """Entries of the ledger, formatted; examples as (identifier, reason)."""
    return [
        {
            "rule": str(entry.get("rule", MISSING)),
            "rows_in": count(entry.get("rows_in")),
            **{key: _nonzero(entry.get(key)) for key in ("dropped", "changed", "marked")},
            "note": str(entry.get("note") or ""),
            "examples": [_example(example) for example in entry.get("examples") or ()],
        }
        for entry in files.ledger or ()
    ]


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
            "options": ", ".join(f"{k}: {v}" for k, v in (cell.get("options") or {}).items()),
            **{stage: duration(seconds_of(cell, stage)) for stage in ("fit", "predict", "score")},
        }
        for cell in files.cells
    ]


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
