"""Candidate hygiene: can the truth be told from its pool without looking at a spectrum?

Position, spelling, recurrence and structure are asked each for itself, on the pools as the models were shown them;
what a candidate file looked like before it was repaired stands in the settings of its set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from ..chem.molecule import inchikey14, parse
from ..chem.standardise import tautomer_key, uniform
from ..data.candidates import structure_auc
from ..data.candidates.sets import CandidateSet, is_decoy
from ..errors import ChemistryError, MslitmusError
from .audit import Audit
from .evidence import Evidence
from .finding import Finding
from .leakage import MATERIAL
from .rankings import pools_of
from .spelling import FEATURES, spelling
from .tells import Auc, Laid, classifier_aucs, draw, lay, mean_auc, places, pool_aucs

#: Of the position test: pools are in a fixed order, so a run repeated does not repeat the chance of an alarm.
ALPHA = 0.001
#: A place, or an order, that earns this much is worth cheating for; below it a p-value is of no interest.
PLACE_EXCESS, PLACE_AUC = 0.05, 0.05
#: How far the interval of a blind AUC keeps off 0.5. Spelling owes nothing to chemistry, so little of it is too much;
#: recurrence has .53 in pools of ours, structures .58 to .68 (docs/candidates.md): collections are kinds of molecules.
SPELLING_WARNING, SPELLING_FATAL = 0.02, 0.10
COUNT_WARNING, COUNT_FATAL = 0.10, 0.25
STRUCTURE_WARNING, STRUCTURE_FATAL = 0.20, 0.40
#: What is drawn for the parts that parse structures: pools, and candidates of each.
DRAWN_POOLS, DRAWN_SIZE = 150, 64
JUDGED_POOLS, JUDGED_SIZE = 150, 32
_KEYS = 1500  # structures whose InChIKey-14 is computed anew


def candidates(evidence: Evidence) -> list[Finding]:
    """Findings of every split over the pools of its test molecules. Raises Absent for another task."""
    pools = pools_of(evidence)
    findings = _as_listed(pools)
    for split in evidence.tables.splits:
        folds = evidence.folds(split)
        asked = folds["test"]["inchikey14"].drop_nulls().unique()
        table = pools.pools.filter(pl.col("molecule").is_in(asked.implode()))
        laid = lay(table)
        evidence.progress(f"{split}: {laid.pools:,} pools, {table.height:,} candidates")
        findings += _complete(split, table, absent=pools.settings.get("truth") == "absent")
        if laid.pools < 2:
            continue
        findings += [_position(split, laid), _recurrence(split, laid, pools, folds["train"])]
        findings += _parsed(evidence, split, table)
        findings.append(_structure(evidence, split, pools, folds))
        findings.append(_provenance(split, laid))
    return findings


def _grade(value: float, warning: float, fatal: float) -> str:
    return "fatal" if value >= fatal else "warning" if value >= warning else "pass"


def _as_listed(pools: CandidateSet) -> list[Finding]:
    """What the file said before the set was made of it; recorded on import (data.candidates.massspecgym)."""
    listed: Mapping[str, Any] = pools.settings.get("as_listed") or {}
    n, first = int(listed.get("with_truth", 0)), int(listed.get("truth_first", 0))
    if not n:
        return []
    chance = float(listed["chance"])
    told = first / n >= chance + PLACE_EXCESS and (first - n * chance) / np.sqrt(n * chance * (1 - chance) + 1e-9) > 4
    shown = (
        f"in {pools.settings.get('source')} as given the truth is the first candidate of {first:,} of {n:,} pools (by "
        f"chance {chance:.1%}), in its own spelling in {int(listed['own_spelling']):,}"
    )
    if not told:
        claim = "the candidate file as given does not begin with the truth"
        return [Finding("candidates", "pass", claim, 0, shown, "nothing to do")]
    repaired = pools.settings.get("mode") == "repaired"
    claim = f"the candidate file {pools.settings.get('source')} lists the truth first"
    remedy = "show models the pools in hash order (mode repaired), never the file itself"
    if repaired:
        claim += "; the pools here are repaired, but predictions made from the file itself can read it"
    return [Finding("candidates", "warning" if repaired else "fatal", claim, first, shown, remedy)]


def _complete(split: str, table: pl.DataFrame, absent: bool) -> list[Finding]:
    """The truth exactly once, no candidate twice."""
    plain = table.with_columns(pl.col("candidate").str.split("#").list.first().alias("_key"))
    own = plain.group_by("molecule").agg((pl.col("_key") == pl.col("molecule")).sum().alias("truths"), pl.len())
    lacking, several = own.filter(pl.col("truths") == 0).height, own.filter(pl.col("truths") > 1).height
    twice = plain.height - plain.select("molecule", "_key").n_unique()
    shown = (
        f"of {own.height:,} pools {lacking:,} lack their truth, {several:,} hold it more than once; {twice:,} of "
        f"{plain.height:,} candidates repeat another of their pool (InChIKey-14)"
    )
    if (not lacking or absent) and not several and not twice:
        claim = f"every pool of split {split} holds its truth once and no candidate twice"
        claim = f"the pools of split {split} are without their truths, as asked" if absent else claim
        return [Finding("candidates", "pass", claim, 0, shown, "nothing to do")]
    affected = (0 if absent else lacking) + several
    severity = "warning" if max(affected / max(own.height, 1), twice / max(plain.height, 1)) >= MATERIAL else "note"
    claim = f"pools of split {split} do not hold their truth once and every other candidate once"
    remedy = "build the set again (mslitmus candidates build), or import the file with mode repaired"
    return [Finding("candidates", severity, claim, affected or twice, shown, remedy)]


def _position(split: str, laid: Laid) -> Finding:
    found = places(laid)
    shown = f"Holm p = {found.p:.2g} of four tests against a uniform place; by place {found.auc}; {found.where}"
    if found.p < ALPHA and (found.excess >= PLACE_EXCESS or abs(found.auc.mean - 0.5) >= PLACE_AUC):
        claim = f"the truth's place in the pools of split {split} gives it away"
        remedy = "put pools into hash order: build or import the set anew, and score again"
        return Finding("candidates", "fatal", claim, laid.pools, shown, remedy)
    claim = f"the truth stands anywhere in the pools of split {split}"
    return Finding("candidates", "pass", claim, laid.pools, shown, "nothing to do")


def _recurrence(split: str, laid: Laid, pools: CandidateSet, train: pl.DataFrame) -> Finding:
    """What counting gives away: in how many other pools a candidate stands, and whether it was trained on."""
    features = counted(laid.table, pools, train)
    known: dict[str, Auc] = {
        name: mean_auc(pool_aucs(features[name].to_numpy(), laid.offsets, laid.truth)) for name in features.columns
    }
    name = max(known, key=lambda each: known[each].clear)
    severity = _grade(known[name].clear, COUNT_WARNING, COUNT_FATAL)
    shown = "; ".join(f"{each}: {value}" for each, value in known.items())
    if severity == "pass":
        claim = f"counting candidates over the pools of split {split} says little of the truth"
        return Finding("candidates", "pass", claim, laid.pools, shown, "nothing to do")
    claim = f"{name} tells the truth from the decoys in split {split}"
    remedy = "draw decoys anew for every pool, from molecules of the same kind as the truths (docs/candidates.md)"
    return Finding("candidates", severity, claim, laid.pools, shown, remedy)


def counted(table: pl.DataFrame, pools: CandidateSet, train: pl.DataFrame) -> pl.DataFrame:
    """Per row of asked pools: how many other asked pools hold the candidate, how many training pools, and whether it
    was trained on (0 or 1)."""
    again = (pl.len().over("candidate") - 1).cast(pl.Float64).alias("recurrence over asked pools")
    keys = train["inchikey14"].drop_nulls().unique()
    known = pools.pools.filter(pl.col("molecule").is_in(keys.implode())).group_by("candidate").len("_n")
    counts = table.select("candidate").join(known, on="candidate", how="left", maintain_order="left")["_n"]
    return table.select(
        again,
        pl.Series("recurrence over training pools", counts.fill_null(0).cast(pl.Float64)),
        pl.col("candidate").is_in(keys.implode()).cast(pl.Float64).alias("trained on"),
    )


def _parsed(evidence: Evidence, split: str, table: pl.DataFrame) -> list[Finding]:
    """Spelling and duplicates, on pools drawn."""
    drawn = lay(draw(table, DRAWN_POOLS, DRAWN_SIZE))
    evidence.progress(f"{split}: spelling and tautomers of {drawn.table.height:,} candidates of {drawn.pools:,} pools")
    return [_spelling(split, drawn), *_duplicates(split, drawn)]


def _spelling(split: str, laid: Laid) -> Finding:
    features = spelling(laid.table["smiles"].to_list())
    found = mean_auc(classifier_aucs(features, laid))
    single = [mean_auc(pool_aucs(column, laid.offsets, laid.truth)) for column in features.T]
    k = int(np.argmax([each.clear for each in single]))
    severity = _grade(max(found.low - 0.5, 0.0), SPELLING_WARNING, SPELLING_FATAL)
    shown = (
        f"classifier of notation, fitted on other pools: {found}; most telling alone: {FEATURES[k]}, {single[k]}; "
        f"{int((features[:, 0] > 0).sum()):,} of {laid.table.height:,} spellings are not canonical"
    )
    if severity == "pass":
        claim = f"truth and decoys of split {split} are spelled alike"
        return Finding("candidates", "pass", claim, laid.pools, shown, "nothing to do")
    claim = f"the spelling of the truth gives it away in split {split}"
    remedy = "spell truth and decoys by one function, without stereo (build, or import with mode repaired)"
    return Finding("candidates", severity, claim, laid.pools, shown, remedy)


def _duplicates(split: str, laid: Laid) -> list[Finding]:
    """Candidates of one pool that are tautomers of each other; keys that are not those of their SMILES."""
    forms = {text: _tautomer(text) for text in laid.table["smiles"].unique()}
    table = laid.table.with_columns(pl.col("smiles").replace_strict(forms, return_dtype=pl.String).alias("_form"))
    twice = table.drop_nulls("_form").filter(pl.len().over("molecule", "_form") > 1)
    truths = twice.filter((pl.col("candidate") == pl.col("molecule")).any().over("molecule", "_form"))
    pools = truths["molecule"].n_unique()
    some = laid.table.unique("candidate", maintain_order=True).head(_KEYS)
    wrong = sum(
        _key(text) != key.split("#")[0] for key, text in some.select("candidate", "smiles").iter_rows()
    )  # a truth keeps its dataset's key, so a salt may differ
    shown = (
        f"of {laid.pools:,} pools drawn {pools:,} hold a tautomer or another form of their truth; {twice.height:,} of "
        f"{table.height:,} candidates are such of another; {wrong:,} of {some.height:,} keys are not of their SMILES"
    )
    share = max(pools / laid.pools, wrong / max(some.height, 1), twice.height / table.height)
    if share < MATERIAL:
        claim = f"the candidates of split {split} are different molecules"
        return [Finding("candidates", "pass", claim, laid.pools, shown, "nothing to do")]
    claim = f"pools of split {split} hold one molecule in several forms"
    remedy = "keep one of each tautomer: build or import the set anew"
    return [Finding("candidates", "warning", claim, max(pools, wrong), shown, remedy)]


def _tautomer(text: str) -> str | None:
    try:
        return tautomer_key(uniform(parse(text)))
    except ChemistryError:
        return None


def _key(text: str) -> str | None:
    try:
        return inchikey14(text)
    except ChemistryError:
        return None


def _structure(evidence: Evidence, split: str, pools: CandidateSet, folds: Mapping[str, pl.DataFrame]) -> Finding:
    """The judge of structures (data.candidates.quality), trained on pools of train and validation molecules."""
    known = set(pools.molecules)
    learn, ask = (
        sorted(known & {key for fold in names for key in folds[fold]["inchikey14"].drop_nulls().unique()})
        for names in (("train", "val"), ("test",))
    )
    random = np.random.default_rng(0)
    learn, ask = (
        sorted(random.choice(each, JUDGED_POOLS, replace=False).tolist()) if len(each) > JUDGED_POOLS else each
        for each in (learn, ask)
    )
    if min(len(learn), len(ask)) < 10:
        claim = f"no judge of structures could be trained for split {split}"
        shown = f"{len(learn)} pools to learn from, {len(ask)} to ask"
        return Finding("candidates", "note", claim, 0, shown, "give train_pools in task_options")
    evidence.progress(f"{split}: a judge of structures learns from {len(learn)} pools")
    try:
        numbers = structure_auc(pools, learn, ask, size=JUDGED_SIZE)
    except MslitmusError as error:
        claim = f"no judge of structures could be trained for split {split}"
        return Finding("candidates", "note", claim, 0, str(error), "repair the candidate set")
    found = Auc(numbers["auc"], numbers["low"], numbers["high"], numbers["n_test"])
    severity = _grade(max(found.low - 0.5, 0.0), STRUCTURE_WARNING, STRUCTURE_FATAL)
    decoys = "" if numbers["auc_decoys"] is None else f", against made-up ones {numbers['auc_decoys']:.3f}"
    real = "" if numbers["auc_real"] is None else f", against real ones {numbers['auc_real']:.3f}"
    shown = (
        f"judge of structures trained on {numbers['n_train']} pools, at most {JUDGED_SIZE} candidates each: {found}"
        f"{decoys}{real}; its hit@1 {numbers['hit_1']:.3f} (chance {numbers['chance']:.3f})"
    )
    if severity == "pass":
        claim = f"structures alone say little of the truth in split {split}"
        return Finding("candidates", "pass", claim, found.n, shown, "keep the control structure-only beside models")
    claim = f"structures alone tell truth from decoy in split {split}"
    remedy = "draw decoys that look like the truths (mslitmus candidates build), and show structure-only beside models"
    return Finding("candidates", severity, claim, found.n, shown, remedy)


def _provenance(split: str, laid: Laid) -> Finding:
    """Sizes, chance, and where truths and decoys come from: context."""
    truth = pl.Series(laid.table["candidate"] == laid.table["molecule"])
    decoys, own = laid.table.filter(~truth)["origin"], laid.table.filter(truth)["origin"]
    shares = ", ".join(f"{origin} {count / len(decoys):.0%}" for origin, count in decoys.value_counts(sort=True).rows())
    truths = ", ".join(f"{origin} {count / len(own):.0%}" for origin, count in own.value_counts(sort=True).rows())
    same = float(decoys.is_in(own.unique().implode()).mean() or 0.0)  # type: ignore[arg-type]
    sizes = laid.sizes
    made_up = float(laid.table.filter(~truth).select(is_decoy().mean()).item())
    shown = (
        f"{laid.pools:,} pools of {sizes.min()} to {sizes.max()} (median {np.median(sizes):.0f}); truths are from "
        f"{truths}, others from {shares}; {same:.0%} of the others share an origin with truths"
    )
    claim = (
        f"chance earns hit@1 {(1 / sizes).mean():.3f} in split {split}, and {made_up:.0%} of the candidates are made up"
    )
    return Finding("candidates", "note", claim, laid.pools, shown, "quote pool size and origins beside every hit rate")


CANDIDATES = Audit("can the truth be told from its pool without a spectrum?", "files", candidates)
