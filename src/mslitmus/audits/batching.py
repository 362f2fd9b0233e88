"""Batching: does an answer depend on which other queries are asked with it, on order, padding or spelling?

A prediction is about its query. Padding to the longest spectrum of a batch, batch statistics left on, sorting that is
not undone, scores standardised over a pool: each makes a number that nobody can repeat on their own queries.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ..chem.spelling import respelled_column
from ..errors import MslitmusError
from .audit import Audit
from .evidence import Absent, Evidence
from .finding import Finding
from .live import peaks
from .live.answers import TOLERANCE, distances, moved
from .live.changes import Change, Edit, keep, measure
from .live.connect import is_costly
from .live.sample import SEED, Asked, Sample, each_model, tests
from .live.verdict import MOSTLY, UNMOVED, told

NAME = "batching"
#: Molecules: whether an answer depends on company is seen on few.
MOLECULES = 100
#: Queries asked one at a time; of a command, which starts anew for each, fewer.
SINGLES, COSTLY_SINGLES = 16, 4
PADDING = 50
#: Edits under which an answer must not change at all: the query is the same.
AGAIN, ALONE, ROWS, TWICE, COMPANY = (
    "asked again", "asked alone", "in another order of rows", "asked twice at once", "in other company",
)  # fmt: skip
POOL = "with its candidates in another order"
INVARIANT = (ALONE, ROWS, TWICE, COMPANY, POOL)
#: Edits that leave the meaning and may be outside what a model was promised.
SPELLING, PEAKS, ZEROS = (
    "with molecules spelled anew",
    "with peaks in another order",
    "with peaks of intensity 0 appended",
)


def batching(evidence: Evidence) -> list[Finding]:
    """Per model whether its answers depend on company, order, padding or spelling. Raises Absent."""
    count = tests(evidence)

    def judge(model: Asked) -> list[Finding]:
        singles = model.sample.head(COSTLY_SINGLES if is_costly(model.ask) else SINGLES)
        changes = measure(model, edits_of(model.sample), count)
        alone = measure(_one_by_one(model), [Edit(ALONE, lambda queries: queries)], count, singles)
        keep(evidence, NAME, model, [*changes, *alone])
        by_name = {change.edit: change for change in (*changes, *alone)}
        again = by_name.pop(AGAIN)
        kept = _recorded(evidence, model)
        if again.moved > UNMOVED:
            return [_unsteady(model, again), *kept]
        broken = [by_name[name] for name in INVARIANT if name in by_name and _broken(by_name[name])]
        if broken and _declared(evidence, model):
            return [_transductive(model, broken), *kept]
        if broken:
            return [_in_company(model, broken), *kept]
        softer = [f for name in (SPELLING, PEAKS, ZEROS) if name in by_name for f in _outside(model, by_name[name])]
        return [*_steady(model, by_name, softer), *softer, *kept]

    return each_model(evidence, NAME, judge, MOLECULES)


def edits_of(sample: Sample) -> list[Edit]:
    """What changes about a question without changing the question, as far as the task shows it."""
    visible = set(sample.task.visible)
    edits = [
        Edit(AGAIN, lambda queries: queries),
        Edit(ROWS, lambda queries: queries.sample(fraction=1.0, shuffle=True, seed=SEED + 1)),
        Edit(TWICE, _twice),
        Edit(COMPANY, lambda queries: _in(sample, queries)),
    ]
    if "mzs" in visible:
        edits.append(Edit(PEAKS, lambda queries: peaks.shuffled(queries, SEED)))
        edits.append(Edit(ZEROS, lambda queries: peaks.zero_padded(queries, PADDING)))
    if "candidates" in visible:
        edits.append(Edit(POOL, _other_order))
    return edits + [Edit(SPELLING, _speller(name)) for name in ("candidate_smiles", "smiles") if name in visible]


def _twice(queries: pl.DataFrame) -> pl.DataFrame:
    copies = queries.with_columns(identifier=pl.format("{}-copy", "identifier"))
    return pl.concat([copies, queries])


def _in(sample: Sample, queries: pl.DataFrame) -> pl.DataFrame:
    """Half of the queries amid others of the fold: those with the most peaks, or the longest SMILES."""
    asked = set(sample.rows["inchikey14"].to_list())
    others = sample.pool.filter(~pl.col("inchikey14").is_in(asked))
    size = pl.col("mzs").list.len() if "mzs" in queries.columns else pl.col("smiles").str.len_chars()
    longest = others.sort(size, "identifier", descending=[True, False]).head(queries.height // 2)
    company = sample.task.queries(longest).select(queries.columns)
    return pl.concat([company, queries.gather_every(2)]).sample(fraction=1.0, shuffle=True, seed=SEED)


def _other_order(queries: pl.DataFrame) -> pl.DataFrame:
    """The members of each pool in reverse, name and structure together."""
    lists = [name for name in ("candidates", "candidate_smiles") if name in queries.columns]
    return queries.with_columns(pl.col(lists).list.reverse())


def _speller(name: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda queries: queries.with_columns(respelled_column(queries[name], SEED))


def _one_by_one(model: Asked) -> Asked:
    """The same model, asked every query by itself."""

    def ask(queries: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([model.ask(queries.slice(row, 1)) for row in range(queries.height)])

    return Asked(
        model.key, model.kind, ask, model.sample, model.base, model.goodness, model.control, model.control_name
    )


def _broken(change: Change) -> bool:
    return change.refused is not None or change.moved > UNMOVED


def _recorded(evidence: Evidence, model: Asked) -> list[Finding]:
    """A warning where the model does not give the predictions that the run was scored by."""
    key = ("live", "recorded", model.key)
    try:
        recorded: pl.DataFrame = evidence.kept(key, lambda: evidence.predictions(model.key))
    except (Absent, MslitmusError, OSError) as error:  # a model without a run, or files that were thinned out
        evidence.progress(f"  {NAME}: {model.key}: not compared with its predictions ({error})")
        return []
    rows = model.sample.rows["identifier"]
    here = recorded.filter(pl.col("identifier").is_in(rows.implode()))
    share = moved(distances(here.select(model.base.columns), model.base, rows))
    shown = f"{share:.1%} of {rows.len()} answers differ by more than {TOLERANCE:g} from predictions.parquet"
    if share <= UNMOVED:
        return []
    claim = f"{model.key} does not give the predictions that it was scored by"
    remedy = "the number is not this model's: predict again with the saved model, and score that"
    return [Finding(NAME, "warning", claim, round(share * rows.len()), shown, remedy)]


def _unsteady(model: Asked, again: Change) -> Finding:
    claim = f"{model.key} answers the same queries differently each time"
    evidence = told(model, [again], again)
    remedy = "switch off dropout and sampling in prediction, or fix the seed; invariance cannot be judged before"
    return Finding(NAME, "warning", claim, again.n, evidence, remedy)


def _in_company(model: Asked, broken: list[Change]) -> Finding:
    names = " and ".join(change.edit for change in broken)
    claim = f"the answers of {model.key} depend on how they are asked: other ones {names}"
    remedy = "mask padding, switch off batch statistics, undo sorting; then predict and score again"
    return Finding(NAME, "fatal", claim, max(c.n for c in broken), told(model, broken, broken[0]), remedy)


def _declared(evidence: Evidence, model: Asked) -> bool:
    """Whether the model's fit says that it learns from the queries it answers."""
    notes = (evidence.cells.get(model.key, {}).get("fit") or {}).get("notes") or {}
    return bool(notes.get("transductive"))


def _transductive(model: Asked, broken: list[Change]) -> Finding:
    claim = f"{model.key} is transductive, as it says: its answers depend on which other queries are asked"
    remedy = (
        "rank it apart from models that answer a query by itself; tuning per sample is the form to compare with them"
    )
    return Finding(NAME, "warning", claim, max(c.n for c in broken), told(model, broken, broken[0]), remedy)


def _outside(model: Asked, change: Change) -> list[Finding]:
    """Spelling, order of peaks, zeros: fatal only where spelling holds most of the skill, else a warning."""
    if not _broken(change):
        return []
    evidence = told(model, [change], change)
    if change.edit == SPELLING and change.loses_more_than(MOSTLY):
        claim = f"{model.key} owes most of its skill to how molecules are spelled"
        remedy = "it reads notation, not structure: train and predict on random spellings, and report that"
        return [Finding(NAME, "fatal", claim, change.n, evidence, remedy)]
    claim = f"{model.key} answers otherwise {change.edit}"
    remedy = "same question, same answer: canonicalise, sort and drop zeros before predicting"
    return [Finding(NAME, "warning", claim, change.n, evidence, remedy)]


def _steady(model: Asked, by_name: dict[str, Change], softer: list[Finding]) -> list[Finding]:
    """What was examined and found the same."""
    passed = [name for name in by_name if not _broken(by_name[name])]
    claim = f"the answers of {model.key} do not depend on how they are asked"
    if softer:
        claim += ", but for what else is said of it"
    n = max(by_name[name].n for name in passed)
    return [Finding(NAME, "pass", claim, n, f"{n} queries: the same answers {'; '.join(passed)}", "nothing to do")]


BATCHING = Audit("does an answer depend on company, order, padding or spelling?", "live", batching)
