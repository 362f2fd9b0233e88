"""Metadata: what do adduct, instrument and energy decide, and does anything decide that should not?

Identifiers name records, often in the order of a library: an answer that follows them is looked up, not predicted.
Columns that the task does not show (source, structure) must change nothing even where a file brings them.
"""

from __future__ import annotations

import polars as pl

from .audit import Audit
from .evidence import Evidence
from .finding import Finding
from .live.answers import distances, moved
from .live.changes import Change, Edit, keep, measure
from .live.sample import SEED, Asked, each_model, tests
from .live.swaps import another_value
from .live.verdict import MOSTLY, UNMOVED, told

NAME = "metadata"
#: What is exchanged, one at a time; columns that say one thing together go together.
COLUMNS = {
    "adduct": ("adduct",),
    "instrument": ("instrument_type",),
    "fragmentation": ("fragmentation",),
    "energy": ("collision_energy", "collision_energy_kind"),
    "precursor m/z": ("precursor_mz",),
    "formula": ("formula",),
}
#: How a spectrum was measured says nothing of the molecule; adduct, precursor and formula do.
CONDITIONS = ("instrument", "fragmentation", "energy")
#: Columns that no task shows of what it asks about; shown here with their true values.
HIDDEN = ("source", "name", "license", "parent_mass", "precursor_formula", "formula", "smiles", "inchikey14")
RENAMED, SHOWN, AGAIN = "under another identifier", "with hidden columns shown", "asked again"


def metadata(evidence: Evidence) -> list[Finding]:
    """Per model what its metadata decide, and whether identifiers or hidden columns do. Raises Absent."""
    count = tests(evidence)

    def judge(model: Asked) -> list[Finding]:
        changes = measure(model, [_renamed(model), _shown(model), *exchanges(model)], count)
        keep(evidence, NAME, model, changes)
        renamed, shown, *rest = changes
        floor = _floor(model)
        return [*_identifier(model, renamed, floor), *_hidden(model, shown, floor), *_read(model, rest)]

    return each_model(evidence, NAME, judge)


def exchanges(model: Asked) -> list[Edit]:
    """Each piece of metadata that the task shows, as another query of the same ion mode has it."""
    visible = set(model.sample.task.visible)
    # where the question is a molecule, its formula is not metadata
    skipped = {"formula"} if "smiles" in visible and "mzs" not in visible else set()
    return [
        Edit(f"another {name}", lambda queries, columns=columns: another_value(queries, columns, SEED))  # type: ignore[misc]
        for name, columns in COLUMNS.items()
        if set(columns) <= visible and name not in skipped
    ]


def _renamed(model: Asked) -> Edit:
    """Neutral names, dealt out in an order of their own."""
    names = model.sample.rows["identifier"]
    order = pl.Series(range(names.len())).shuffle(seed=SEED + 1)
    new = pl.Series([f"query-{number:05d}" for number in order.to_list()], dtype=pl.String)
    back = dict(zip(new.to_list(), names.to_list(), strict=True))

    def undo(answers: pl.DataFrame) -> pl.DataFrame:
        return answers.with_columns(pl.col("identifier").replace(back))

    return Edit(RENAMED, lambda queries: queries.with_columns(identifier=new), undo=undo)


def _shown(model: Asked) -> Edit:
    rows = model.sample.rows
    more = [name for name in HIDDEN if name in rows.columns and name not in model.sample.task.visible]
    return Edit(SHOWN, lambda queries: queries.with_columns(rows.select(more).get_columns()))


def _floor(model: Asked) -> float:
    """Share of answers that differ when the very same queries are asked again: a model that draws is no reader."""
    answers = model.answers(model.sample.queries)
    return moved(distances(model.base, answers, model.sample.rows["identifier"]))


def _identifier(model: Asked, renamed: Change, floor: float) -> list[Finding]:
    if renamed.refused is not None:
        claim = f"{model.key} refuses queries under other identifiers"
        remedy = "an identifier is a name, nothing more: read no number and no library from it"
        return [Finding(NAME, "warning", claim, renamed.n, told(model, [renamed], renamed), remedy)]
    if renamed.moved <= max(UNMOVED, floor):
        claim = f"the answers of {model.key} do not depend on identifiers"
        shown = f"{renamed.n} queries renamed: {renamed.moved:.1%} of answers changed"
        return [Finding(NAME, "pass", claim, renamed.n, shown, "nothing to do")]
    evidence = told(model, [renamed], renamed)
    if floor > UNMOVED:
        evidence += f"; asked again under the same names {floor:.0%} change"
    if renamed.decides and renamed.fall.low > 0:
        claim = f"identifiers decide the answers of {model.key}: renamed queries are answered worse"
        remedy = "identifiers name library records: hide them from the model, and discard its numbers"
        return [Finding(NAME, "fatal", claim, renamed.n, evidence, remedy)]
    claim = f"the answers of {model.key} follow identifiers"
    remedy = "if it draws random numbers by them, say so; else hide them from the model"
    return [Finding(NAME, "warning", claim, renamed.n, evidence, remedy)]


def _hidden(model: Asked, shown: Change, floor: float) -> list[Finding]:
    if shown.refused is not None or shown.moved <= max(UNMOVED, floor):
        return []
    claim = f"{model.key} reads columns that the task hides, where a file brings them"
    remedy = "select the visible columns before predicting; a number made on a file with the truth in it is void"
    return [Finding(NAME, "warning", claim, shown.n, told(model, [shown], shown), remedy)]


def _read(model: Asked, changes: list[Change]) -> list[Finding]:
    """What the exchanged metadata do: a warning where a condition holds most of the skill, else a note."""
    if not changes:
        return []
    main = max(changes, key=lambda change: change.n)
    evidence = told(model, changes, main)
    about_spectra = "mzs" in model.sample.task.visible
    conditions = [c for c in changes if c.edit.removeprefix("another ") in CONDITIONS]
    if about_spectra and (much := [c for c in conditions if c.loses_more_than(MOSTLY)]):
        names = " and ".join(c.edit.removeprefix("another ") for c in much)
        claim = f"{model.key} owes most of its skill to the {names}, which says nothing of the molecule"
        remedy = "show it by instrument and energy; train it with these hidden at random"
        return [Finding(NAME, "warning", claim, main.n, evidence, remedy)]
    read = [c.edit.removeprefix("another ") for c in changes if c.moved > UNMOVED]
    claim = f"{model.key} reads {', '.join(read) if read else 'none of its metadata'}"
    return [Finding(NAME, "note", claim, main.n, evidence, "read its numbers by adduct, instrument and energy")]


METADATA = Audit("do identifiers, hidden columns or conditions decide the answers?", "live", metadata)
