"""Shortcuts: does a model's ranking follow something that is not in the spectrum?

From predictions alone. Three questions of every trained ranker: does it give a molecule's spectra one and the same
ranking; does it put the same two candidates in the same order in pools of different molecules; and how much of what it
knows is left once a blind feature (place, spelling, recurrence, the score of a blind control) is taken out?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..metrics.paired import holm
from .audit import Audit
from .blind import Ranking, blind_features, by_formula, concordance, lay_rankings, same_for_all
from .evidence import Absent, CellKey, Evidence
from .finding import Finding
from .rankings import laid_scores, pools_of
from .tells import Auc, mean_auc

ALPHA = 0.01
#: A ranker that gives nearly all molecules one ranking for all their spectra, whatever energy or adduct, reads no peak.
ALL_SAME = 0.95
#: Order of shared pairs kept from pool to pool: 1 for anything blind, 0.5 for chance; honest models had 0.77 and 0.83.
ORDER_KEPT = 0.95
#: Least correlation with a blind feature (within pools) that counts as following it. Honest models reach 0.2, and 0.45
#: with a mean fingerprint, of which next to nothing is what they know.
FOLLOWED = 0.5
#: ... and least share of first choices that are the feature's where it is wrong (chance taken out, at least so many
#: molecules). Honest models reach 0.1; a scorer that knows one right place makes all of them.
CHOSEN, CHOSEN_MOLECULES = 0.4, 20
#: Share of the model's AUC above 0.5 that goes when the feature is taken out (or of its hits that the feature
#: makes, where first choices are followed): a warning, fatal.
EXPLAINED_WARNING, EXPLAINED_FATAL = 0.5, 0.8
#: A correlation so high that nothing else than the feature can be in the score.
SAME_RANKING = 0.95
#: Isomers of the truth above candidates of other formulae: no model that reads peaks is that sure of a hidden formula.
KNOWN_FORMULA = 0.95
#: ... and that it knows nothing else is shown where the truth's AUC among its isomers is surely below this: a coin's
#: interval over twenty molecules ends at about .63.
AMONG_ISOMERS = 0.65
#: A model of no use has no shortcut to speak of.
USEFUL = 0.55
_REMEDY = "ablate the spectrum (mslitmus audit RUN --live), and report the model beside the control that explains it"


@dataclass(frozen=True)
class Followed:
    """A blind feature and a model.

    rho: mean rank correlation within pools; explained: share of the model's AUC above 0.5 that is gone when the feature
    is taken out; own, rest: AUC of the feature (in the direction followed), and of what is left of the model; hits: the
    model's at 1, those of them that the feature makes too, and as many as it would by chance; wrong: share of the
    feature's wrong first choices that the model makes too, None where the feature has none to speak of.
    """

    feature: str
    rho: Auc
    explained: float
    own: Auc
    rest: Auc
    p: float
    hits: tuple[float, float, float]
    wrong: Auc | None

    @property
    def by_rank(self) -> bool:
        return min(abs(self.rho.low), abs(self.rho.high)) >= FOLLOWED

    @property
    def by_choice(self) -> bool:
        return self.wrong is not None and self.wrong.low >= CHOSEN

    @property
    def share(self) -> float:
        """Of the model's knowledge, how much the feature accounts for: by rank, or by first choices."""
        by_rank = self.explained if self.by_rank else 0.0
        by_choice = self.hits[1] / self.hits[0] if self.by_choice and self.hits[0] > 0 else 0.0
        return max(by_rank, by_choice)

    def __str__(self) -> str:
        wrong = "" if self.wrong is None else f", where its first choice is wrong the model makes {self.wrong.mean:.0%}"
        return (
            f"{self.feature}: rank correlation {self.rho.mean:+.2f} ({self.rho.low:+.2f} to {self.rho.high:+.2f}), "
            f"alone {self.own.mean:.3f}, taking it out leaves {self.rest}{wrong}"
        )


def shortcuts(evidence: Evidence) -> list[Finding]:
    """Findings of every trained model and split, first seeds. Raises Absent for another task than retrieval."""
    pools = pools_of(evidence)
    findings: list[Finding] = []
    for split in evidence.tables.splits:
        trained = [key for key in evidence.first_seeds("trained") if key.split == split]
        if not trained:
            continue
        base = lay_rankings(evidence, split)
        if not base.queries:
            continue
        features = blind_features(evidence, split, base, pools)
        for key in trained:
            evidence.progress(f"{key}: {base.queries:,} queries, {len(base.place):,} scores")
            model = base.of(laid_scores(evidence, key))
            findings += judge(key, model, features)
            findings += [] if getattr(evidence.task, "formula", None) == "given" else _formula(key, model)
    if not findings:
        raise Absent("needs predictions of a trained ranker")
    return findings


def judge(key: CellKey, model: Ranking, features: Mapping[str, np.ndarray]) -> list[Finding]:
    """Findings of one model: what it does not read, what it follows; a pass where neither is more than honest."""
    auc = mean_auc(model.aucs(), model.molecules)
    useful = auc.low > 0.5 and auc.mean > USEFUL
    findings, read = _unread(key, model, auc, useful)
    found = [followed(name, values, model, auc) for name, values in features.items()]
    p = holm(np.array([each.p for each in found]))
    followers = [
        each for each, adjusted in zip(found, p, strict=True) if (adjusted < ALPHA and each.by_rank) or each.by_choice
    ]
    # One finding a model, of the feature that explains most: correlated controls would all say the same.
    followers.sort(key=lambda each: (each.share, abs(each.rho.mean)), reverse=True)
    findings += [finding for each in followers[:1] if (finding := _follows(key, each, auc, useful))]
    if findings:
        return findings
    strongest = max(found, key=lambda each: abs(each.rho.mean))
    claim = f"{key.model} follows nothing blind on split {key.split}"
    shown = f"its {auc}; {read}; the nearest feature is {strongest}"
    return [Finding("shortcuts", "pass", claim, auc.n, shown, "nothing to do")]


def followed(name: str, ranks: np.ndarray, model: Ranking, auc: Auc) -> Followed:
    """How a ranking relates to one feature, given as ranks within queries."""
    rho, p = model.correlation(ranks)
    sign = -1.0 if rho.mean < 0 else 1.0
    own = mean_auc(model.aucs(sign * ranks), model.molecules)
    rest = mean_auc(model.aucs(model.without(ranks)), model.molecules)
    above = auc.mean - 0.5
    explained = 1 - (rest.mean - 0.5) / above if above > 1e-9 else 0.0
    mine, theirs = model.hits(), model.hits(sign * ranks)
    hits = (float(mine.sum()), float((mine * theirs).sum()), float(mine.sum() * theirs.mean()))
    rates, molecules = model.follows_wrong(sign * ranks)
    enough = len(np.unique(molecules)) >= CHOSEN_MOLECULES
    wrong = mean_auc(rates, molecules, bounded=False) if enough else None
    return Followed(name, rho, float(np.clip(explained, 0.0, 1.0)), own, rest, p, hits, wrong)


def _follows(key: CellKey, each: Followed, auc: Auc, useful: bool) -> Finding | None:
    """The severity of a feature that is followed; None where it costs the claim nothing."""
    same = min(abs(each.rho.low), abs(each.rho.high)) >= SAME_RANKING
    useful = useful or (each.by_choice and each.hits[1] > 2 * each.hits[2])
    explains = each.share >= EXPLAINED_WARNING and each.own.low > 0.5
    shown = f"the model's {auc}; {each}; {each.share:.0%} of what it knows goes with it"
    if same or (useful and explains):
        fatal = useful and each.own.low > 0.5 and (each.share >= EXPLAINED_FATAL or same)
        how = "is" if same else "follows"
        claim = f"the ranking of {key.model} on split {key.split} {how} {each.feature}, not the spectrum"
        severity = "fatal" if fatal else "warning"
        hits, also, chance = each.hits
        made = f"Of its {hits:,.0f} hits at 1 the feature alone makes {also:,.0f}, by chance {chance:,.0f}"
        return Finding("shortcuts", severity, claim, auc.n, f"{shown}. {made}", _REMEDY)
    claim = f"the ranking of {key.model} on split {key.split} goes along with {each.feature}"
    return Finding("shortcuts", "note", claim, auc.n, shown, "show that control beside it")


def _unread(key: CellKey, model: Ranking, auc: Auc, useful: bool) -> tuple[list[Finding], str]:
    """The same ranking for every spectrum of a molecule, or the same order of a pair whatever the molecule: findings,
    and what was seen where there are none."""
    same, several = same_for_all(model)
    kept = concordance(model)
    findings = []
    severity = "fatal" if useful else "warning"
    if several >= 20 and same / several >= ALL_SAME:
        claim = f"{key.model} gives all spectra of a molecule one ranking on split {key.split}: it does not read them"
        shown = f"{same:,} of {several:,} molecules with several spectra have one and the same ranking; its {auc}"
        findings.append(Finding("shortcuts", severity, claim, same, shown, _REMEDY))
    if kept is not None and kept.low >= ORDER_KEPT:
        claim = f"{key.model} orders candidates alike in all pools of split {key.split}: it does not read the spectrum"
        shown = (
            f"two candidates that share pools of two molecules keep their order in {kept.mean:.1%} of the cases "
            f"(95 % interval {kept.low:.1%} to {kept.high:.1%}, {kept.n:,} molecules); its {auc}"
        )
        findings.append(Finding("shortcuts", severity, claim, kept.n, shown, _REMEDY))
    read = f"{same:,} of {several:,} molecules have one ranking for all their spectra"
    if kept is not None:
        read += f", pairs of candidates keep their order in {kept.mean:.0%} of other pools ({kept.n:,} molecules)"
    return findings, read


def _formula(key: CellKey, model: Ranking) -> list[Finding]:
    """A model that is never wrong about a hidden formula and no better than chance about isomers was told it.

    Fatal where its use among isomers is surely little; a warning where too few isomers leave that open.
    """
    apart, within, *molecules = by_formula(model)
    if len(np.unique(molecules[0])) < 20 or len(np.unique(molecules[1])) < 20:
        return []
    formula, isomers = mean_auc(apart, molecules[0]), mean_auc(within, molecules[1])
    if formula.low < KNOWN_FORMULA or isomers.low > 0.5:
        return []
    little = isomers.high < AMONG_ISOMERS
    claim = f"{key.model} knows the hidden formula on split {key.split}, and "
    claim += "nothing else" if little else "is not shown to know more"
    shown = f"isomers of the truth against other candidates: {formula}; the truth against its isomers: {isomers}"
    severity = "fatal" if little else "warning"
    return [Finding("shortcuts", severity, claim, formula.n, shown, "find where the formula enters the model")]


SHORTCUTS = Audit("does a ranking follow something that is not in the spectrum?", "files", shortcuts)
