"""Noise: how fast does a model fall as its spectra get worse? A dose–response curve for each way they do.

A model that a realistic dose puts below the clean nearest neighbour is brittle: its number holds on this data only. A
model that an absurd dose does not touch is not reading what was destroyed.
"""

from __future__ import annotations

from functools import partial

import polars as pl

from .audit import Audit
from .evidence import Evidence
from .finding import Finding, best_of
from .live import peaks
from .live.changes import ALPHA, Change, Edit, keep, measure, within
from .live.sample import SEED, Asked, each_model, recorded, tests
from .live.verdict import KEPT, MOSTLY, UNMOVED, told
from .spectrum_ablation import require_spectra

NAME = "noise"
#: Molecules: a dozen questions about half of the usual sample.
MOLECULES = 150
#: Way → doses, the last of them absurd: nothing of what it touches is left. The realistic one is what another
#: laboratory's spectrum of the same molecule differs by (simulated-data.md; MassBank's replicates).
DOSES: dict[str, tuple[float, ...]] = {
    "noise peaks": (1, 10, 50, 500),
    "m/z jitter (ppm)": (1, 5, 20, 5000),
    "intensity jitter (sigma)": (0.1, 0.3, 1.0, 5.0),
    "share of peaks lost": (0.1, 0.25, 0.5, 0.95),
}
REALISTIC = {"noise peaks": 10, "m/z jitter (ppm)": 5, "intensity jitter (sigma)": 0.3, "share of peaks lost": 0.25}
#: Intensity of noise peaks relative to the base peak, log-uniform; the absurd dose reaches up to it.
FAINT, LOUD = (0.002, 0.05), (0.05, 1.0)
#: An untouched intensity is `spectrum-ablation`'s matter (intensity blindness), and honest.
BLINDNESS = ("noise peaks", "m/z jitter (ppm)", "share of peaks lost")


def noise(evidence: Evidence) -> list[Finding]:
    """Per model the curve of its score against dose; a warning where it is brittle or unmoved. Raises Absent."""
    require_spectra(evidence)
    count = tests(evidence)

    def judge(model: Asked) -> list[Finding]:
        places = [(way, dose) for way in DOSES for dose in DOSES[way]]
        edits = [Edit(f"{way} {dose:g}", partial(_worse, way, dose), dose) for way, dose in places]
        changes = measure(model, edits, count)
        keep(evidence, NAME, model, changes)
        curve = dict(zip(places, changes, strict=True))
        real = [curve[way, dose] for way, dose in REALISTIC.items()]
        absurd = [curve[way, DOSES[way][-1]] for way in BLINDNESS]
        findings = [*_unmoved(model, absurd), *_brittle(evidence, model, real, count)]
        return findings or [_calm(model, changes, absurd)]

    return each_model(evidence, NAME, judge, MOLECULES)


def _worse(way: str, dose: float, queries: pl.DataFrame) -> pl.DataFrame:
    """Queries at one dose of one way to be worse."""
    if way == "noise peaks":
        return peaks.noisy(queries, int(dose), *(LOUD if dose == DOSES[way][-1] else FAINT), seed=SEED)
    if way.startswith("m/z"):
        return peaks.mz_jitter(queries, dose, SEED)
    if way.startswith("intensity"):
        return peaks.intensity_jitter(queries, dose, SEED)
    return peaks.dropout(queries, dose, SEED)


def _unmoved(model: Asked, absurd: list[Change]) -> list[Finding]:
    kept = [c for c in absurd if c.decides and (c.moved <= UNMOVED or c.loses_less_than(KEPT))]
    if not kept:
        return []
    claim = f"{model.key} does not mind spectra that are destroyed ({', '.join(c.edit for c in kept)})"
    remedy = "it does not read what was destroyed: see spectrum-ablation, and the blind control beside it"
    return [Finding(NAME, "warning", claim, kept[0].n, told(model, absurd, kept[0]), remedy)]


def _brittle(evidence: Evidence, model: Asked, real: list[Change], count: int) -> list[Finding]:
    """A warning where a realistic dose costs half of the skill, or puts a better model below the clean neighbour."""
    name = best_of(evidence.tables, model.key.split, "neighbour")
    neighbour = None if name in (None, model.key.model) else recorded(evidence, model.sample, str(name))
    level = 1 - ALPHA / count
    ahead = neighbour is not None and within(model.goodness - neighbour, level).low > 0
    worst = []
    for change in real:
        below = ahead and change.after_below(neighbour)
        if change.decides and (below or change.loses_more_than(MOSTLY)):
            worst.append(change)
    if not worst:
        return []
    claim = f"{model.key} is brittle: a realistic dose takes its lead ({', '.join(c.edit for c in worst)})"
    beside = f"; clean, it is ahead of {name}" if ahead else ""
    remedy = "train with this noise, and report the curve beside the number"
    return [Finding(NAME, "warning", claim, worst[0].n, told(model, real, worst[0]) + beside, remedy)]


def _calm(model: Asked, changes: list[Change], absurd: list[Change]) -> Finding:
    evidence = told(model, changes, absurd[0])
    if any(change.decides and change.fall.low > 0 for change in absurd):
        claim = f"{model.key} falls with the dose, and not at once"
        return Finding(NAME, "pass", claim, absurd[0].n, evidence, "nothing to do")
    claim = f"what noise does to {model.key} cannot be told from its score"
    return Finding(NAME, "note", claim, absurd[0].n, evidence, "ask more queries, or train it to a skill to lose")


NOISE = Audit("how fast does a model fall as spectra get worse?", "live", noise)
