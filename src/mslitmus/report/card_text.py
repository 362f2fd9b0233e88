"""A model card as Markdown: readable as it stands, and by any renderer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .card import Card, SplitPart
from .findings import Shown


def markdown(card: Card) -> str:
    """The whole card."""
    parts = [f"# {card.model}"]
    if card.simulated:
        parts.append("**SIMULATED DATA**: the spectra were computed from a law, not measured.")
    parts.append(f"Model card, from the run *{card.title}* (`{card.run}`).")
    parts += ["## What it is", _table(("", ""), card.about)]
    if card.options:
        parts.append(f"```yaml\n{card.options}\n```")
    parts += ["## What it reaches"]
    for split in card.splits:
        parts += _split(split)
    parts += ["## What the audits say", card.audited, *_findings(card)]
    parts += ["## Data", _table(("", ""), card.data)]
    if card.licences:
        parts.append(_table(("licence", "spectra"), card.licences))
    if card.citation:
        parts.append(f"Cite the data as: {card.citation}")
    head = ("split", "seed", "training", "epochs", "ended", "machine")
    parts += ["## Training", _table(head, card.training)]
    parts += ["## How to reproduce", "```\n" + "\n".join(card.commands) + "\n```"]
    if card.entry:
        parts.append(f"The row of the study file:\n\n```yaml\n{card.entry}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def _split(split: SplitPart) -> list[str]:
    head = ("metric", "per molecule", "95 % interval", "per spectrum", "best blind", "best neighbour")
    skilled = any(row.skill_blind != "–" or row.skill_neighbour != "–" for row in split.rows)
    titles = (*head, "skill vs blind", "skill vs neighbour") if skilled else head
    rows = [
        (row.metric, row.value, row.interval, row.per_spectrum, row.blind, row.neighbour)
        + ((row.skill_blind, row.skill_neighbour) if skilled else ())
        for row in split.rows
    ]
    parts = [f"### {split.name} split", split.lead, _table(titles, rows), _table(("", ""), split.facts)]
    if split.weak:
        parts += ["Weakest in:", _table(("stratum", "level", "score", "molecules"), split.weak)]
    return parts


def _findings(card: Card) -> Iterable[str]:
    if card.findings:
        yield "Of this model:\n\n" + "\n".join(map(_finding, card.findings))
    else:
        yield "No finding names this model."
    if card.around:
        yield "Of data and splits:\n\n" + "\n".join(map(_finding, card.around))
    if card.passed:
        yield f"Examined and fine: {card.passed}."


def _finding(finding: Shown) -> str:
    remedy = f" → {finding.remedy}" if finding.remedy else ""
    said = f"{_plain(finding.claim)}. {_plain(finding.evidence)}{_plain(remedy)}"
    return f"- **{finding.severity}** ({finding.audit}) {said}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text that no Markdown renderer takes for markup, and that stays in its cell."""
    for mark in ("\\", "|", "*", "_", "<", "`", "["):
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")
