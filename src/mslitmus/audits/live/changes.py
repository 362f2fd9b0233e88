"""What an edit of the queries does: how many answers change, and by how much the score, paired, over molecules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from ...metrics.intervals import Array
from ..by_molecule import Estimate, estimate
from ..evidence import CellKey, Evidence
from .answers import distances, moved
from .sample import Asked, Sample

#: Level of a model's intervals before it is split over the models of an audit.
ALPHA = 0.05
RESAMPLES = 2000
#: Fewer molecules are shown, and decide nothing.
LEAST = 20
#: Columns of `table`: one row a model and edit.
COLUMNS = {
    "audit": pl.String, "split": pl.String, "model": pl.String, "seed": pl.Int64, "edit": pl.String,
    "dose": pl.Float64, "n": pl.Int64, "metric": pl.String, "before": pl.Float64, "after": pl.Float64,
    "change": pl.Float64, "low": pl.Float64, "high": pl.Float64, "moved": pl.Float64, "refused": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """An edit of queries by name.

    make: may return fewer rows than it was given, or more (company, which is not judged).
    dose: places it on a curve.
    undo: of the answers, where `make` renamed what they are known by.
    """

    name: str
    make: Callable[[pl.DataFrame], pl.DataFrame]
    dose: float | None = None
    undo: Callable[[pl.DataFrame], pl.DataFrame] | None = None


def within(values: Array, level: float) -> Estimate:
    """`by_molecule.estimate` of one value a molecule; levels near 1 need more resamples than 0.95."""
    return estimate(values, level=level, resamples=RESAMPLES)


@dataclass(frozen=True)
class Change:
    """One edit's effect on one model.

    Attributes:
        n: molecules (queries) that could be edited.
        before, after: mean of the metric on them.
        fall: how much worse the score is (positive is worse, whatever the metric's direction).
        skill: by how much the unedited answers beat the blind control on the same queries.
        moved: share of queries whose answer is another one.
        refused: what the model said where it refused the edited queries; then the numbers are NaN.
    """

    edit: str
    dose: float | None
    n: int
    before: float
    after: float
    fall: Estimate
    skill: Estimate
    moved: float
    way: float
    refused: str | None = None
    _falls: Array | None = None
    _skills: Array | None = None
    _after: Array | None = None
    level: float = 1 - ALPHA

    @property
    def decides(self) -> bool:
        return self.refused is None and self.n >= LEAST

    def loses_less_than(self, share: float) -> bool:
        """Surely less than this share of its skill over the blind control, which is surely there.

        One-sided, on the paired quantity fall − share · skill of each molecule, so the margin's own noise counts too.
        """
        if not self.decides or self._falls is None or self._skills is None or not self.skill.low > 0:
            return False
        return within(self._falls - share * self._skills, self.level).high < 0

    def loses_more_than(self, share: float) -> bool:
        """Surely more than this share of that skill."""
        if not self.decides or self._falls is None or self._skills is None or not self.skill.low > 0:
            return False
        return within(self._falls - share * self._skills, self.level).low > 0

    def after_below(self, other: Array | None) -> bool:
        """Whether the edited answers are surely worse than another model's, (n,), on the same queries."""
        if not self.decides or other is None or self._after is None:
            return False
        return within(self._after - other, self.level).high < 0

    @property
    def change(self) -> tuple[float, float, float]:
        """Of the metric itself, with its interval: (mean, low, high)."""
        low, high = sorted((-self.way * self.fall.low, -self.way * self.fall.high))
        return -self.way * self.fall.mean + 0.0, low + 0.0, high + 0.0

    def __str__(self) -> str:
        if self.refused is not None:
            return f"{self.edit}: refused ({self.refused})"
        if not self.n:
            return f"{self.edit}: no query can be edited so"
        change, *ends = self.change
        within = f" ({ends[0]:+.3f} to {ends[1]:+.3f})" if np.isfinite(ends).all() else ""
        few = "" if self.n >= LEAST else ", too few to judge"
        return f"{self.edit}: {change:+.3f}{within}, n {self.n}{few}, {self.moved:.0%} of answers changed"


def measure(model: Asked, edits: Iterable[Edit], tests: int, sample: Sample | None = None) -> list[Change]:
    """Ask the model the sample under every edit; an edit that it refuses is told, not raised.

    Args:
        tests: models that the audit judges; intervals have the level 1 − 0.05 / tests.
        sample: part of the model's sample; default all of it.
    """
    asked = model.sample if sample is None else sample
    return [_measured(model, asked, edit, 1 - ALPHA / max(tests, 1)) for edit in edits]


def _measured(model: Asked, sample: Sample, edit: Edit, level: float) -> Change:
    queries = edit.make(sample.queries)
    # company has other identifiers, whatever its number; an edit that renames asks about all
    part = sample if edit.undo is not None else sample.part(queries["identifier"])
    before, nothing = model.of(part), within(np.zeros(0), level)
    way, n = sample.way, part.rows.height
    skills = before - model.control_of(part)
    skill = within(skills, level)
    mean = float(way * before.mean()) if n else float("nan")
    if not n:
        return Change(edit.name, edit.dose, 0, mean, mean, nothing, skill, 0.0, way, level=level)
    try:
        answers = model.answers(queries)
        answers = answers if edit.undo is None else edit.undo(answers)
        answers = answers.filter(pl.col("identifier").is_in(part.rows["identifier"].implode()))  # without company
    except Exception as error:  # a foreign model may raise anything; what it said is shown
        said = f"{type(error).__name__}: {error}".split("\n")[0][:160]
        return Change(edit.name, edit.dose, n, mean, float("nan"), nothing, skill, 1.0, way, said, level=level)
    after = part.goodness(answers)
    falls = before - after
    share = moved(distances(model.base, answers, part.rows["identifier"]))
    fall = within(falls, level)
    return Change(
        edit.name,
        edit.dose,
        n,
        mean,
        float(way * after.mean()),
        fall,
        skill,
        share,
        way,
        None,
        falls,
        skills,
        after,
        level,
    )


def keep(evidence: Evidence, audit: str, model: Asked, changes: Sequence[Change]) -> None:
    """Remember what was measured, for `table`."""
    measured: dict[tuple[str, CellKey], tuple[str, Sequence[Change]]]
    measured = evidence.kept(("live", "measured"), dict)
    measured[audit, model.key] = (model.sample.metric, changes)


def table(evidence: Evidence) -> pl.DataFrame:
    """Everything that live audits measured on this evidence: `COLUMNS`, one row a model and edit.

    `change`, `low` and `high` are those of the metric itself (a fall of a cosine is negative), paired, over molecules.
    """
    measured = evidence.kept(("live", "measured"), dict)
    rows = [
        {**asdict(key), "audit": audit, "metric": metric, **_row(change)}
        for (audit, key), (metric, changes) in sorted(measured.items(), key=lambda item: item[0])
        for change in changes
    ]
    return pl.DataFrame(rows, schema=COLUMNS)


def _row(c: Change) -> dict[str, object]:
    known = {"before": c.before, "after": c.after, **dict(zip(("change", "low", "high"), c.change, strict=True))}
    numbers = {name: value if np.isfinite(value) else None for name, value in known.items()}
    return {"edit": c.edit, "dose": c.dose, "n": c.n, "moved": c.moved, "refused": c.refused, **numbers}
