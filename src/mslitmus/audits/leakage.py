"""Structure leakage: test molecules that a model met, in train or in what it was pretrained on, counted from the folds.

The record of a split is not trusted: keys, uniform forms and tautomers are compared anew. Then the model's side: is it
better on the molecules that it met?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ..data.candidates.lists import dataset_list
from ..data.splits.labels import label
from .audit import Audit
from .contrast import advantages, profiting, told
from .declared import Met, met_before
from .evidence import Evidence
from .finding import Finding
from .structures import members, near_by_mces, nearest, uniform

ALPHA = 0.05
#: Of the test molecules: below this share a leak moves no mean by a digit that is printed, so it is a note.
MATERIAL = 0.01
#: Salts and tautomers stand under two keys in any large collection: of a small test fold one or two are 1 %, by chance.
FEW = 3
#: What methods promise of train and test; a split by condition promises molecules in its form `new-molecules`.
PROMISED = {
    "molecule": ("inchikey14",),
    "scaffold": ("inchikey14", "scaffold"),
    "formula": ("inchikey14", "formula"),
    "mces": ("inchikey14",),
    "massspecgym": ("inchikey14",),
    "evaluation": ("inchikey14",),
}
#: Tanimoto (Morgan radius 2, 2048 bits) from which on two molecules are called near.
NEAR = 0.85
#: Uniform forms of a list cost 0.6 ms each: of a longer one so many are drawn, and keys alone tell of the rest.
LISTED = 50_000
#: Test molecules that the search by MCES looks at, and their most similar training molecules that it tries.
MCES_MOLECULES, MCES_TRIED = 150, 4
_REMEDY = "split again without them, or take them out of the test fold and score anew (mslitmus score)"


@dataclass(frozen=True)
class Shared:
    """Test molecules met in another set, each counted once: by key, in the same uniform form, as a tautomer."""

    exact: tuple[str, ...]
    form: tuple[str, ...]
    tautomer: tuple[str, ...]
    of: int
    note: str = ""

    @property
    def every(self) -> tuple[str, ...]:
        return self.exact + self.form + self.tautomer

    def __str__(self) -> str:
        return (
            f"of {self.of:,} test molecules {len(self.exact):,} by InChIKey-14, {len(self.form):,} more in the same "
            f"uniform form (salt, charge, stereo), {len(self.tautomer):,} more as a tautomer{self.note}"
        )


def leakage(evidence: Evidence) -> list[Finding]:
    """Findings of every split: exact and near in train, then pretraining."""
    findings: list[Finding] = []
    lists = met_before(evidence)
    for split, record in evidence.tables.splits.items():
        promised = promises(record)
        shared = shared_with(evidence, split, evidence.folds(split)["train"].select("inchikey14", "smiles"))
        findings += _exact(evidence, split, shared, promised)
        findings += _same_structure(evidence, split, shared, promised)
        findings += _broken(evidence, split, promised)
        findings.append(_near(evidence, split, record))
        findings += [found for each in lists for found in _pretrained(evidence, split, each, promised)]
    return findings


def promises(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Labels that train and test must not share, from what the split is called and from what its record says."""
    named = PROMISED.get(str(record.get("method")), ())
    if record.get("form") == "new-molecules":
        named = ("inchikey14", *named)
    return tuple(dict.fromkeys((*named, *(record.get("disjoint") or ()))))


def shared_with(evidence: Evidence, split: str, others: pl.DataFrame) -> Shared:
    """Test molecules of a split that are among `others` (`inchikey14`, and `smiles` where known)."""
    keys = evidence.folds(split)["test"]["inchikey14"].drop_nulls().unique().sort()
    known = set(others["inchikey14"].drop_nulls().to_list())
    exact = [key for key in keys if key in known]
    test = members(evidence, split, "test").filter(~pl.col("inchikey14").is_in(pl.Series(exact, dtype=pl.String)))
    looked, note = _drawn(others, LISTED)
    theirs = _uniform_of(evidence, looked)
    form = test.join(theirs, on="smiles", how="semi")
    tautomer = test.join(form, on="inchikey14", how="anti").join(theirs, on="tautomer", how="semi")
    more = [tuple(rows["inchikey14"].to_list()) for rows in (form, tautomer)]
    return Shared(tuple(exact), more[0], more[1], len(keys), note)


def _drawn(others: pl.DataFrame, most: int) -> tuple[pl.DataFrame, str]:
    """At most so many molecules, and what to say of that."""
    distinct = others.unique("inchikey14", keep="first", maintain_order=True)
    if distinct.height <= most or "tautomer" in others.columns:
        return distinct, ""
    return distinct.sample(most, seed=0), f" (forms of {most:,} drawn of {distinct.height:,}; keys of all)"


def _uniform_of(evidence: Evidence, others: pl.DataFrame) -> pl.DataFrame:
    """Uniform forms of molecules: those of the run are at hand, of a list only what could match is looked at."""
    table = uniform(evidence)
    own = table.filter(pl.col("inchikey14").is_in(others["inchikey14"].unique().implode()))
    if {"formula", "tautomer"} <= set(others.columns):
        return pl.concat([own, others.select(table.columns)])
    if "smiles" not in others.columns:
        return own
    rest = others.drop_nulls(["inchikey14", "smiles"]).join(table, on="inchikey14", how="anti")
    if rest.is_empty():
        return own
    evidence.progress(f"uniform forms of {rest['inchikey14'].n_unique():,} listed molecules")
    return pl.concat([own, dataset_list(rest).frame])


def _exact(evidence: Evidence, split: str, shared: Shared, promised: Sequence[str]) -> list[Finding]:
    if not shared.exact:
        claim = f"counted anew, no test molecule of split {split} is in train"
        return [Finding("leakage", "pass", claim, 0, str(shared), "nothing to do")]
    n = len(shared.exact)
    share = n / shared.of
    evidenced = f"{shared}, e.g. {shared.exact[0]}. {_gains(evidence, split, shared.exact)}"
    if "inchikey14" in promised:
        claim = f"{n:,} test molecules ({share:.1%}) of split {split} are in train, which it says it excludes"
        return [Finding("leakage", "fatal", claim, n, evidenced, _REMEDY)]
    claim = f"counted anew, {share:.1%} of the test molecules of split {split} are in train, as such a split allows"
    remedy = "read its numbers as interpolation, and show a split by molecule beside it"
    return [Finding("leakage", "warning", claim, n, evidenced, remedy)]


def _gains(evidence: Evidence, split: str, molecules: Sequence[str]) -> str:
    """A sentence a trained model: how much better it is on these molecules than others are."""
    return told(advantages(evidence, split, molecules)) or "too few molecules to say whether the models profit"


def _same_structure(evidence: Evidence, split: str, shared: Shared, promised: Sequence[str]) -> list[Finding]:
    """The same molecule under another InChIKey-14: a salt, another protonation, a tautomer. Large collections hold a
    few in any split by key; more than a few were put there."""
    n = len(shared.form) + len(shared.tautomer)
    if not n or "inchikey14" not in promised:
        return []
    share = n / shared.of
    claim = f"{n:,} test molecules ({share:.1%}) of split {split} are in train under another InChIKey-14"
    remedy = "split by uniform form or tautomer, or say so beside the number"
    example = (shared.form + shared.tautomer)[0]
    shown = f"{shared}, e.g. {example}"
    severity = under_another_key(n, shared.of)
    if severity == "fatal":
        remedy = _REMEDY
        shown += f". {_gains(evidence, split, shared.form + shared.tautomer)}"
    return [Finding("leakage", severity, claim, n, shown, remedy)]


def under_another_key(n: int, of: int) -> str:
    """How bad it is that n of so many test molecules are in train as a salt or tautomer, in a split by molecule."""
    if n < MATERIAL * of:
        return "note"
    return "warning" if n < FEW else "fatal"


def _broken(evidence: Evidence, split: str, promised: Sequence[str]) -> list[Finding]:
    """Other labels that must not be shared (scaffold, formula, laboratory)."""
    folds = evidence.folds(split)
    findings = []
    for name in promised:
        if name == "inchikey14":
            continue
        parameters = evidence.tables.splits[split].get("parameters") or {}
        columns = ["inchikey14", "smiles", "formula", "source", "collision_energy", "collision_energy_kind"]
        sides = {}
        for fold in ("train", "test"):
            rows = folds[fold].select(c for c in {*columns, name} if c in folds[fold].columns)
            sides[fold] = rows.with_columns(label(rows, name, parameters).alias("_label"))
        shared = sides["test"].drop_nulls("_label").join(sides["train"], on="_label", how="semi")
        if shared.height:
            n = shared["inchikey14"].n_unique()
            claim = f"split {split} says that train and test share no {name}, but they share {shared['_label'][0]!r}"
            shown = f"{shared['_label'].n_unique():,} shared values, {shared.height:,} test spectra of {n:,} molecules"
            findings.append(Finding("leakage", "fatal", claim, n, shown, _REMEDY))
    return findings


def _near(evidence: Evidence, split: str, record: Mapping[str, Any]) -> Finding:
    """How many test molecules have a near one in train, by formula, Tanimoto and MCES; fatal in a split by MCES."""
    test, train = members(evidence, split, "test"), members(evidence, split, "train")
    train = train.join(test, on="inchikey14", how="anti")
    same_formula = test.join(train, on="formula", how="semi").height
    rows, values = nearest(test["smiles"].to_list(), train["smiles"].to_list(), MCES_TRIED, evidence.progress)
    near = int((values[:, 0] >= NEAR).sum())
    drawn = np.arange(test.height)
    if test.height > MCES_MOLECULES:
        drawn = np.sort(np.random.default_rng(0).choice(test.height, MCES_MOLECULES, replace=False))
    smiles = test["smiles"].gather(drawn).to_list()
    close = near_by_mces(smiles, train["smiles"].to_list(), rows[drawn], evidence.progress)
    shown = (
        f"{same_formula:,} of {test.height:,} test molecules have the formula of a training molecule (itself not "
        f"counted), {near:,} ({near / max(test.height, 1):.1%}) a Tanimoto similarity ≥ {NEAR} to one (Morgan radius "
        f"2); of {len(drawn):,} drawn at least {int(close.sum()):,} lie at MCES < 10 of one of their {MCES_TRIED} "
        "most similar training molecules"
    )
    threshold = (record.get("parameters") or {}).get("threshold", 10.0)
    if record.get("method") == "mces" and threshold >= 10.0 and close.any():
        example = test["inchikey14"].gather(drawn[close]).to_list()[0]
        claim = f"split {split} says that train and test are {threshold:g} apart by MCES, but {example} is not"
        return Finding("leakage", "fatal", claim, int(close.sum()), shown, _REMEDY)
    claim = f"{near / max(test.height, 1):.1%} of the test molecules of split {split} have a near one in train"
    return Finding("leakage", "note", claim, near, shown, "read the stratum of similarity to train beside the mean")


def _pretrained(evidence: Evidence, split: str, met: Met, promised: Sequence[str]) -> list[Finding]:
    """Test molecules among those of one pretraining."""
    users = ", ".join(met.models)
    if met.molecules is None:
        claim = f"nobody says which molecules {users} met in pretraining, split {split}"
        shown = f"{met.name} holds no record of what it learned from, and no list was declared"
        remedy = "declare the list: mslitmus audit RUN --pretraining FILE; or run again what made it, if it is a run"
        return [Finding("leakage", "warning", claim, 0, shown, remedy)]
    shared = shared_with(evidence, split, met.molecules)
    if not shared.every:
        claim = f"no test molecule of split {split} is in the pretraining of {users}"
        shown = f"{met.name}, {met.molecules.height:,} molecules: {shared}"
        return [Finding("leakage", "pass", claim, 0, shown + _near_list(evidence, split, met), "nothing to do")]
    return [_pretrained_leak(evidence, split, met, promised, shared)]


def _pretrained_leak(evidence: Evidence, split: str, met: Met, promised: Sequence[str], shared: Shared) -> Finding:
    """Fatal where the weights promise otherwise, or where a model profits in a split that promises new molecules: it
    gains more on them than models that did not meet them do. The overlap itself is no more than a warning."""
    n, users = len(shared.every), ", ".join(met.models)
    share = n / shared.of
    gains = advantages(evidence, split, shared.every, met.models)
    profits, open_ = profiting(gains, ALPHA)
    shown = f"{met.name}, {met.molecules.height if met.molecules is not None else 0:,} molecules: {shared}. "
    shown += told(gains) or "Too few molecules to say whether the models profit"
    new = "inchikey14" in promised
    remedy = "pretrain without them (mslitmus pretrain excludes a study's held-out molecules), or score without them"
    if new and met.excluded is not None and _says_excluded(evidence, split, met.excluded):
        claim = f"{n:,} test molecules of split {split} are in the pretraining of {users}, which says it left them out"
        return Finding("leakage", "fatal", claim, n, shown, remedy)
    claim = f"{n:,} test molecules ({share:.1%}) of split {split} were met in pretraining by {users}"
    if new and profits:
        claim += f", and {', '.join(profits)} answers them better"
        return Finding("leakage", "fatal", claim, n, shown, remedy)
    if open_:
        shown += (
            f". Whether {', '.join(open_)} knows them or they are easy cannot be told without a neighbour beside it"
        )
    return Finding("leakage", "warning" if share >= MATERIAL else "note", claim, n, shown, remedy)


def _says_excluded(evidence: Evidence, split: str, excluded: Mapping[str, Any]) -> bool:
    """Whether the record of the weights names this split of this data as left out."""
    record = evidence.tables.splits[split]
    if excluded.get("data_hash") != record.get("dataset_hash"):
        return False
    wanted = {key: record.get(key) for key in ("method", "form", "seed")}
    return any(all(each.get(key) == value for key, value in wanted.items()) for each in excluded.get("splits") or ())


def _near_list(evidence: Evidence, split: str, met: Met) -> str:
    """How many test molecules have a near one in a list; empty where the list has no SMILES."""
    if met.molecules is None or "smiles" not in met.molecules.columns:
        return ""
    listed = _drawn(met.molecules.drop_nulls("smiles"), LISTED)[0]["smiles"].to_list()
    test = members(evidence, split, "test")["smiles"].to_list()
    _, values = nearest(test, listed, 1, evidence.progress)
    return f"; {int((values[:, 0] >= NEAR).sum()):,} have a Tanimoto similarity ≥ {NEAR} to one"


LEAKAGE = Audit(
    "which test molecules did a model meet, in train or in pretraining, and does it profit?", "files", leakage
)
