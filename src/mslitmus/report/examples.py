"""Examples as cards: the measured spectrum, what was predicted for it, and the true molecule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from .board import chosen
from .folder import RunFiles
from .mirror import measured_spectrum, mirror
from .numbers import MISSING, count, metric_label, mz, score, tolerance, usable
from .structure import same_molecule, structure

SPECTRUM = "spectrum-prediction"


@dataclass(frozen=True)
class Guess:
    """One of the best candidates of a ranking."""

    place: int
    score: str
    drawing: Markup | None
    smiles: str
    truth: bool


@dataclass(frozen=True)
class Card:
    """One query with its molecule, its facts and, for a ranking, the best candidates and the truth's place."""

    rank: str
    score: str
    metric: str
    name: str
    record: str
    facts: tuple[tuple[str, str], ...]
    smiles: str
    plot: Markup
    molecule: Markup | None
    place: str = ""
    guesses: tuple[Guess, ...] = ()
    truth_below: bool = False
    guessed: str = "candidates"  # what the guesses are


def examples(table: pl.DataFrame | None, files: RunFiles, split: str) -> list[tuple[str, list[Card]]]:
    """(model, its cards of `table` in the order of their ranks) of one split, of the trained models.

    Where spectra are read (every task but the prediction of spectra) and nothing was trained, of the best trivial one.
    """
    if table is None:
        return []
    here = table.filter(pl.col("split") == split)
    found = here["model"].unique(maintain_order=True).to_list()
    models = [model for model in found if files.kind(model) == "trained"]
    if not models and files.task != SPECTRUM:
        best = chosen(files, split, files.primary, "molecule", control=True)
        models = [best.model] if best is not None and best.model in found else []
    order = ("best", "median", "worst", *map(str, range(1, 100)))
    out = []
    for model in models:
        rows = list(here.filter(pl.col("model") == model).iter_rows(named=True))
        rows.sort(key=lambda row: order.index(row["rank"]) if row["rank"] in order else len(order))
        out.append((model, [_card(row, files.task) for row in rows]))
    return out


def _card(row: Mapping[str, Any], task: str) -> Card:
    energy = _energy(row)
    name = row["name"] or row["identifier"] or MISSING
    facts = [
        ("Adduct", row["adduct"] or "unstated"),
        ("Precursor", f"m/z {mz(row['precursor_mz'])}"),
        ("Energy", energy),
        ("Instrument", row["instrument_type"] or "unstated"),
    ]
    guesses = _guesses(row, name)
    return Card(
        rank=row["rank"] or "",
        score=score(row["score"]),
        metric=metric_label(row["metric"] or ""),
        name=name,
        record=row["identifier"] or MISSING if row["name"] else "",
        facts=tuple(facts),
        smiles=row["smiles"] or "",
        plot=_plot(row, task, name, energy),
        molecule=structure(row["smiles"], f"Structure of {name}"),
        place=_place(row),
        guesses=guesses,
        truth_below=bool(guesses) and not any(guess.truth for guess in guesses),
        guessed="structures" if task == "generation" else "candidates",
    )


def _plot(row: Mapping[str, Any], task: str, name: str, energy: str) -> Markup:
    """A mirror plot where a spectrum was predicted, else the measured spectrum alone."""
    measured = (row["mzs"] or [], row["intensities"] or [])
    said = f"{row['rank']} of {row['model']}: {metric_label(row['metric'] or '')} {score(row['score'])}"
    conditions = f"{row['adduct'] or 'adduct unstated'}, {energy}"
    if task != SPECTRUM:
        label = f"Measured spectrum of {name}, {said}, {conditions}"
        return measured_spectrum(measured, row["precursor_mz"], label)
    return mirror(
        measured,
        (row["predicted_mzs"] or [], row["predicted_intensities"] or []),
        row["precursor_mz"],
        tolerance(row["metric"] or ""),
        f"Mirror plot of {name}, {said}, {conditions}",
    )


def _place(row: Mapping[str, Any]) -> str:
    """`rank 12.5 of 256`: the expected rank, since ties are shared."""
    rank, size = row.get("truth_rank"), row.get("pool_size")
    if not usable(rank) or rank is None:
        return ""
    text = f"{rank:,.1f}".removesuffix(".0")
    return f"truth at rank {text} of {count(size)}" if usable(size) else f"truth at rank {text}"


def _guesses(row: Mapping[str, Any], name: str) -> tuple[Guess, ...]:
    smiles, scores = row.get("candidates") or [], row.get("candidate_scores") or []
    truths = _truths(smiles, scores, row)
    out = []
    for place, (text, value) in enumerate(zip(smiles, scores, strict=False), 1):
        drawing = structure(text, f"Candidate {place} for {name}", 132, 100)
        out.append(Guess(place, _figures(value), drawing, text or "", place in truths))
    return tuple(out)


def _truths(smiles: Sequence[str], scores: Sequence[float], row: Mapping[str, Any]) -> set[int]:
    """Places of the candidates that are the truth, by InChIKey-14.

    A pool spells a charged truth or a salt as its neutral parent, which may have another key: then an unshared rank
    tells which candidate it is.
    """
    found = {place for place, text in enumerate(smiles, 1) if same_molecule(text, row["smiles"])}
    rank = row.get("truth_rank")
    if found or rank is None or rank not in range(1, len(scores) + 1):
        return found
    place = int(rank)
    return {place} if list(scores).count(scores[place - 1]) == 1 else found


def _figures(value: Any) -> str:
    """A model's own score, on whatever scale it has: four significant figures."""
    return f"{value:.4g}".replace("-", "\u2212") if usable(value) else MISSING


def _energy(row: Mapping[str, Any]) -> str:
    """The number with a unit only where the record's kind is known to give one."""
    if not usable(row["collision_energy"]):
        return "unstated"
    kind = row.get("collision_energy_kind")
    unit = {"eV": " eV", "NCE": " eV (from NCE)", "resonant-%": " % (resonant)"}.get(kind or "", "")
    if not unit and kind:
        unit = f" ({kind})"
    return f"{row['collision_energy']:.3g}{unit}"
