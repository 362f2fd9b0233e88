"""From FINDINGS of trials to verdicts: caught, missed, false alarm; shares with exact intervals; Markdown.

The rules, fixed before any trial was looked at:

- a liar is *caught* by an audit that is meant for it (`Liar.audits`) with a fatal finding or a warning that names its
  row, or names no row at all (it speaks of the split, the pools, the records). One that names only other rows does not
  count;
- it is *noticed* where any other audit speaks fatally or warns by its name;
- an honest model is *accused* (a false alarm) by a fatal finding that names it, whichever audit speaks, and by a
  warning that names it from an audit of deceit (`ACCUSING`). What says no more than that a model is weak, uneven or
  badly calibrated (`trivial`, `ladder`, `worst-group`, …) is context, however it is worded;
- a fatal finding or warning without a name in a trial of honest models is an *alarm about clean data*: it is counted by
  audit, since an audit that always warns catches every liar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from scipy import stats

from ..audits.liars import HONEST, LIARS, Honest, Liar

#: Audits whose warning by name says that a number is not what it claims to be.
ACCUSING = frozenset(
    {
        "denominators", "overlap", "leakage", "spectrum-leakage", "labels", "candidates", "shortcuts",
        "intensity-blindness", "selection", "pseudo-replication", "claims", "spectrum-ablation", "molecule-ablation",
        "metadata", "batching", "noise",
    }
)  # fmt: skip
_LOUD = ("fatal", "warning")
_TRIAL = ["subject", "source", "seed", "dose"]


def verdicts(findings: pl.DataFrame, liars: Sequence[Liar] = LIARS) -> pl.DataFrame:
    """One row a trial of a liar: subject, source, seed, dose, ran (audits meant for it that ran), caught (lists of
    audits), noticed (others that name it), missed."""
    by_name = {liar.name: liar for liar in liars}
    rows = []
    for (subject, source, seed, dose), trial in findings.filter(~pl.col("honest")).group_by(_TRIAL):
        liar = by_name[str(subject)]
        meant = trial.filter(pl.col("audit").is_in(list(liar.audits)))
        ran = meant.filter(pl.col("not_run").is_null() & pl.col("error").is_null())["audit"].unique().sort()
        loud = trial.filter(pl.col("severity").is_in(_LOUD))
        own, none = pl.col("names").list.contains(liar.name), pl.col("names").list.len() == 0
        caught = loud.filter(pl.col("audit").is_in(list(liar.audits)) & (own | none))["audit"].unique().sort()
        noticed = loud.filter(~pl.col("audit").is_in(list(liar.audits)) & own)["audit"].unique().sort()
        rows.append((subject, source, seed, dose, ran.to_list(), caught.to_list(), noticed.to_list()))
    schema: Any = {"subject": pl.String, "source": pl.String, "seed": pl.Int64, "dose": pl.Float64}
    lists: Any = dict.fromkeys(("ran", "caught", "noticed"), pl.List(pl.String))
    table = pl.DataFrame(rows, schema={**schema, **lists}, orient="row")
    return table.with_columns(missed=pl.col("caught").list.len() == 0).sort(_TRIAL)


def accusations(findings: pl.DataFrame, models: Sequence[Honest] = HONEST) -> pl.DataFrame:
    """One row an honest model and trial: model, source, seed, audits that accuse it (empty: none)."""
    rows = []
    honest = findings.filter("honest")
    for (task, source, seed), trial in honest.group_by("subject", "source", "seed"):
        for model in (each.name for each in models if each.task == task):
            mine = trial.filter(pl.col("names").list.contains(model).fill_null(False))
            fatal = mine.filter(pl.col("severity") == "fatal")
            warned = mine.filter((pl.col("severity") == "warning") & pl.col("audit").is_in(list(ACCUSING)))
            audits = pl.concat([fatal, warned])["audit"].unique().sort().to_list()
            rows.append((model, source, seed, audits))
    schema: Any = {"model": pl.String, "source": pl.String, "seed": pl.Int64, "audits": pl.List(pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("model", "source", "seed")


def clean_alarms(findings: pl.DataFrame) -> pl.DataFrame:
    """audit, source, trials, alarms: trials of honest models in which an audit was loud about no row in particular."""
    honest = findings.filter(pl.col("honest") & pl.col("not_run").is_null() & pl.col("error").is_null())
    nameless = pl.col("severity").is_in(_LOUD) & (pl.col("names").list.len() == 0)
    per_trial = honest.group_by("audit", "source", "subject", "seed").agg(loud=nameless.fill_null(False).any())
    return (
        per_trial.group_by("audit", "source").agg(trials=pl.len(), alarms=pl.col("loud").sum()).sort("audit", "source")
    )


def interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper–Pearson, exact."""
    found = stats.binomtest(hits, n).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def detection_table(findings: pl.DataFrame, liars: Sequence[Liar] = LIARS) -> str:
    """Markdown: a row a liar, a column a source: caught / trials at the main dose, and which audits spoke."""
    main = {liar.name: liar.dose for liar in liars}
    table = verdicts(findings, liars).filter(
        pl.col("dose") == pl.col("subject").replace_strict(main, return_dtype=pl.Float64)
    )
    sources = sorted(table["source"].unique())
    lines = [
        "| liar | " + " | ".join(sources) + " | caught by (times) | also named by |",
        "|---" * (len(sources) + 3) + "|",
    ]
    for liar in liars:
        mine = table.filter(pl.col("subject") == liar.name)
        if mine.is_empty():
            continue
        cells = [_share(mine.filter(pl.col("source") == source)) for source in sources]
        lines.append(f"| {liar.name} | {' | '.join(cells)} | {_times(mine, 'caught')} | {_times(mine, 'noticed')} |")
    return "\n".join(lines)


def _share(rows: pl.DataFrame) -> str:
    if rows.is_empty():
        return "–"
    asked = rows.filter(pl.col("ran").list.len() > 0)
    hits = asked.filter(~pl.col("missed")).height
    return f"{hits} / {asked.height}" if asked.height else "not run"


def _times(rows: pl.DataFrame, column: str) -> str:
    counts = rows[column].explode().drop_nulls().value_counts().sort("count", column, descending=[True, False])
    return ", ".join(f"{name} {n}" for name, n in counts.rows()) or "none"


def power_table(findings: pl.DataFrame, liars: Sequence[Liar] = LIARS) -> str:
    """Markdown: liar, source, dose, caught / trials, exact 95 % interval."""
    with_doses = {liar.name for liar in liars if liar.doses}
    table = verdicts(findings, liars).filter(
        pl.col("subject").is_in(sorted(with_doses)) & (pl.col("ran").list.len() > 0)
    )
    counted = table.group_by("subject", "source", "dose").agg(n=pl.len(), hits=(~pl.col("missed")).sum())
    lines = ["| liar | source | dose | caught | 95 % interval |", "|---|---|---|---|---|"]
    for subject, source, dose, n, hits in counted.sort("subject", "source", "dose").rows():
        low, high = interval(hits, n)
        lines.append(f"| {subject} | {source} | {dose:g} | {hits} / {n} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines)


def false_alarm_table(findings: pl.DataFrame, models: Sequence[Honest] = HONEST) -> str:
    """Markdown: honest model × source: accused / trials and by whom; then alarms about clean data by audit."""
    table = accusations(findings, models)
    lines = ["| honest model | source | accused | by (times) |", "|---|---|---|---|"]
    for (model, source), rows in table.group_by("model", "source", maintain_order=True):
        accused = rows.filter(pl.col("audits").list.len() > 0).height
        lines.append(f"| {model} | {source} | {accused} / {rows.height} | {_times(rows, 'audits')} |")
    lines += ["", "| audit, loud about clean data | source | trials |", "|---|---|---|"]
    for audit, source, trials, alarms in clean_alarms(findings).rows():
        if alarms:
            lines.append(f"| {audit} | {source} | {alarms} / {trials} |")
    return "\n".join(lines)


def missed_by(findings: pl.DataFrame, liars: Sequence[Liar] = LIARS) -> Mapping[str, tuple[int, int]]:
    """liar → (trials at its main dose in which it was missed, trials in which an audit meant for it ran)."""
    main = {liar.name: liar.dose for liar in liars}
    table = verdicts(findings, liars).filter(pl.col("ran").list.len() > 0)
    out = {}
    for name, dose in main.items():
        rows = table.filter((pl.col("subject") == name) & (pl.col("dose") == dose))
        out[name] = (rows.filter("missed").height, rows.height)
    return out
