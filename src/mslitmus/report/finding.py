"""The sentence at the top: what the comparison shows, made from the tables and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from ..audits.finding import paired
from .board import Entry, chosen, merit
from .folder import RunFiles
from .numbers import count, interval, measure, p_value, rising, score, usable

ALPHA = 0.05


@dataclass(frozen=True)
class Headline:
    """`lead` about the hardest split, `others` one shorter sentence for each of the rest."""

    lead: str
    others: tuple[str, ...]


def headline(files: RunFiles) -> Headline | None:
    """The finding, or None where no model has a score. The hardest split (lowest best score) leads."""
    metric = files.primary
    pairs = []
    for split in files.split_names:
        model = chosen(files, split, metric, "molecule", control=False)
        trivial = chosen(files, split, metric, "molecule", control=True)
        if best := model or trivial:
            pairs.append((merit(best, metric), split, model, trivial))
    if not pairs:
        return None
    pairs.sort(key=lambda pair: pair[0])
    sentences = [
        sentence(files, split, model, trivial, full=i == 0) for i, (_, split, model, trivial) in enumerate(pairs)
    ]
    return Headline(sentences[0], tuple(sentences[1:]))


def sentence(files: RunFiles, split: str, model: Entry | None, trivial: Entry | None, *, full: bool) -> str:
    """What one split says of a model beside the best trivial one; `full` names measure and molecules."""
    measured = measure(files.primary)
    if model is None or trivial is None:
        only = model or trivial
        assert only is not None
        other = "trivial model" if model else "trained model"
        return (
            f"On the {split} split {only.model} reaches {score(only.mean)} {interval(only.low, only.high)} "
            f"({measured}); no {other} was run beside it, so nothing can be said about what was learnt."
        )
    if full:
        start = (
            f"On the {split} split {model.model} reaches {score(model.mean)} {interval(model.low, model.high)} "
            f"({measured}, mean over {count(model.n_molecules)} molecules), the trivial model to beat, "
            f"{trivial.model}, {score(trivial.mean)}"
        )
    else:
        start = (
            f"On the {split} split: {model.model} {score(model.mean)} {interval(model.low, model.high)}, "
            f"{trivial.model} {score(trivial.mean)}"
        )
    return f"{start}{_verdict(files, split, model.model, trivial.model)}"


def _verdict(files: RunFiles, split: str, model: str, trivial: str) -> str:
    pair = paired(files.comparisons, split, files.primary, model, trivial)
    if pair is None:
        return "; the two were not compared."
    p = pair["p_holm"]
    if not usable(p) or p >= ALPHA:
        verdict = "which does not tell the two apart"
    else:
        gain = pair["difference"] > 0 if rising(files.primary) else pair["difference"] < 0
        verdict = "a gain over the trivial model" if gain else "a loss against the trivial model"
    difference = f"{score(pair['difference'], sign=True)} {interval(pair['low'], pair['high'])}"
    return f": difference {difference} (Holm {p_value(p)}, d = {score(pair['effect_size'], 2, sign=True)}), {verdict}."
