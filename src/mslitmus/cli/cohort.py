"""`mslitmus cohort`: runs and a sample sheet in, what separates the samples out. A thin shell over `cohort`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Column, Table

from .cohort_why import calibration, explain, published, tell_why
from .terminal import console, errors

if TYPE_CHECKING:
    import polars as pl

    from ..cohort.run import Finished
    from ..cohort.settings import CohortSettings

_EVERY = 5.0  # seconds between two lines of progress where standard error is no terminal
#: Metric of a question that the terminal tells.
_TOLD = {"classification": "macro-f1", "regression": "r2", "separation": "permanova-r2", "nearest": "closest-found"}


def answer_cohort(
    sheet: Annotated[Path | None, typer.Argument(help="Tab-separated sheet: a row a run, a column `file`.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the runs (mzML, mzXML, MGF, …), or an archive.")] = None,
    study: Annotated[str | None, typer.Option(help="A published cohort, in place of the sheet: septic-shock.")] = None,
    factor: Annotated[str, typer.Option(help="Of --study: what is to be predicted.")] = "",
    target: Annotated[
        list[str] | None, typer.Option(help="Column to predict; may repeat. Default: group…, value….")
    ] = None,
    as_class: Annotated[list[str] | None, typer.Option(help="A target whose numbers are names of classes.")] = None,
    representation: Annotated[
        list[str] | None,
        typer.Option("--representation", "-r", help="By name, or the folder of an embedder; may repeat."),
    ] = None,
    library: Annotated[list[str] | None, typer.Option("--library", "-l", help="Adds library-hits; may repeat.")] = None,
    aggregation: Annotated[list[str] | None, typer.Option(help="To choose from: mean, tfidf, …; may repeat.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="OURS=THEIRS: file, sample, replicate, batch, subject, order, …")
    ] = None,
    blanks: Annotated[str | None, typer.Option(help="remove, subtract or keep what blanks hold too.")] = None,
    splits: Annotated[str | None, typer.Option(help="folds, leave-one-group-out or holdout.")] = None,
    together: Annotated[
        list[str] | None, typer.Option(help="Columns that keep samples in one fold; may repeat.")
    ] = None,
    learner: Annotated[str | None, typer.Option(help="Of classes: ridge or logistic.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Times that folds are drawn.")] = None,
    permutations: Annotated[int | None, typer.Option(help="Shuffles of the labels, for chance; 0: none.")] = None,
    ion_mode: Annotated[str | None, typer.Option(help="Of spectra that state none: positive, negative.")] = None,
    confidence: Annotated[Path | None, typer.Option(help="Calibration of `mslitmus confidence`, for markers.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings as YAML; options given here win.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: cohorts/SHEET.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Runs read at a time.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the table only.")] = False,
) -> None:
    """What do these samples have in common, and what separates them?"""
    from ..cohort.run import run
    from ..search.queries import check_ion_mode

    given: dict[str, Any] = {
        "targets": target, "classes": as_class, "representations": representation, "library": library,
        "aggregations": aggregation, "columns": _columns(column), "blanks": blanks, "splits": splits,
        "together": together, "learner": learner, "seeds": seeds, "permutations": permutations,
        "ion_mode": check_ion_mode(ion_mode),
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None and value not in ([], {})}
    with errors.status("reading the sheet") as status:
        say = _progress(status.update, quiet)
        sheet, data, more = published(study, factor, sheet, data, say)
        how = _settings(config, {**more, **given})
        root = out or Path("cohorts") / (study or sheet.name.split(".")[0])
        calibrated = calibration(confidence, how.library)
        done = run(sheet, data, root, how, jobs=jobs, say=say)
        found = explain(root, how.library, calibrated, say)
    _tell(done, quiet)
    tell_why(root, found)


def _columns(pairs: list[str] | None) -> dict[str, str]:
    from ..errors import ConfigError

    out = {}
    for pair in pairs or ():
        ours, equals, theirs = pair.partition("=")
        if not equals:
            raise ConfigError(f"--column {pair}", remedy="OURS=THEIRS, e.g. --column file=Filename")
        out[ours.strip()] = theirs.strip()
    return out


def _settings(config: Path | None, given: dict[str, Any]) -> CohortSettings:
    from ..cohort.settings import BASELINE, parse, read

    values = read(config) if config is not None else {}
    if "columns" in given and isinstance(values.get("columns"), dict):
        given["columns"] = {**values["columns"], **given["columns"]}
    values = {**values, **given}
    if values.get("library") and "representations" not in values:
        values["representations"] = [BASELINE, "fragments", "library-hits"]
    return parse(values, str(config) if config is not None else "the command")


def _progress(update: Callable[[str], None], quiet: bool) -> Callable[[str], None]:
    """A line now and then where there is no terminal to draw in."""
    told = 0.0

    def say(line: str) -> None:
        nonlocal told
        update(line)
        if not errors.is_terminal and not quiet and time.monotonic() - told > _EVERY:
            told = time.monotonic()
            errors.print(line, highlight=False, markup=False, soft_wrap=True)

    return say


def _tell(done: Finished, quiet: bool) -> None:
    if not quiet:
        for note in done.notes:
            errors.print(note, highlight=False, markup=False, soft_wrap=True)
    for table in _tables(done.results):
        console.print(table)
    for line in _verdicts(done):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{done.seconds:.0f} s; tables: {done.root.resolve()}", highlight=False, markup=False, soft_wrap=True)


def _tables(results: pl.DataFrame) -> Iterator[Table]:
    """The first metric of each question, the representations below each other."""
    import polars as pl

    from ..cohort.tables import SHUFFLED

    several = results["acquisition"].n_unique() > 1
    head = ("target", *(["acquisition"] if several else []), "representation")
    told = results.filter(
        (pl.col("seed") == "all")
        & pl.col("aggregation").is_in(["chosen", "layout"])
        & ~pl.col("representation").str.ends_with(SHUFFLED)
    )
    targets, acquisitions = (told[name].unique(maintain_order=True).to_list() for name in ("target", "acquisition"))
    keys = [pl.col("target").cast(pl.Enum(targets)), pl.col("acquisition").cast(pl.Enum(acquisitions))]
    for question, metric in _TOLD.items():
        rows = told.filter(question=question, metric=metric).sort(keys, maintain_order=True)
        if rows.is_empty():
            continue
        right = [Column(name, justify="right", no_wrap=True) for name in ("value", "95 %", "chance", "p")]
        table = Table(
            *(Column(name, overflow="fold") for name in head), *right, box=SIMPLE, title=f"{question}: {metric}"
        )
        for row in rows.iter_rows(named=True):
            low, high = _number(row["low"]), _number(row["high"])
            cells = (str(row[name]).replace("[", r"\[") for name in head)
            p = "" if row["p_permutation"] is None else f"{row['p_permutation']:.3f}"
            between = f"{low} to {high}" if low and high else ""
            table.add_row(*cells, _number(row["value"]), between, _number(row["chance_mean"]), p)
        yield table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _verdicts(done: Finished) -> list[str]:
    """Whether each representation beats the baseline, and which representation and acquisition is best."""
    import polars as pl

    from ..cohort.comparing import chance
    from ..cohort.tables import ALL

    out = []
    same = ["question", "target", "acquisition", "representation", "metric"]
    answers = done.results.filter((pl.col("seed") == "all") & (pl.col("aggregation") == "chosen"))
    first = done.comparisons.filter(pl.col("metric") == pl.col("question").replace(_TOLD))
    first = first.join(answers.select(*same, "p_permutation"), on=same, how="left", maintain_order="left")
    for row in first.iter_rows(named=True):
        clear = row["low"] is not None and row["low"] > 0 and not chance(row["p_permutation"])
        worse = row["high"] is not None and row["high"] < 0
        verdict = "beats" if clear else "is worse than" if worse else "is not clearly better than"
        at = "" if row["acquisition"] == ALL else f" ({row['acquisition']})"
        between = "" if row["low"] is None else f", 95 % {row['low']:+.3f} to {row['high']:+.3f}"
        what = f"{row['metric']} {row['difference']:+.3f}{between}"
        what += f"; p = {row['p_permutation']:.2g} against chance" if chance(row["p_permutation"]) else ""
        out.append(f"{row['target']}{at}: {row['representation']} {verdict} {row['against']} ({what})")
    for (_, target), rows in done.leaders.group_by("question", "target", maintain_order=True):
        out += _leading(str(target), rows)
    return out


def _leading(target: str, rows: pl.DataFrame) -> list[str]:
    """What is best, or leads without being told apart from others: of representations, and of acquisitions."""
    import polars as pl

    from ..cohort.comparing import chance
    from ..cohort.leading import acquisitions, standing

    first = rows.row(0, named=True)
    name, where = first["representation"], first["acquisition"]
    value = f"{first['metric']} {first['value']:.3f}"
    out = []
    beside = rows.filter(pl.col("against_acquisition") == where)
    if beside.height:
        there = "" if beside.height == rows.height else f" in {where}"
        out.append(f"{target}: {name} has the highest {value}{there}: {standing(beside)}")
    if beside.height < rows.height:
        near = acquisitions(rows)
        what = f"({value}, {name})"
        line = f"the acquisition that separates best is {where} {what}, told apart from every other (p ≤ .05, Holm)"
        if near or chance(first["p_chance"]):
            lucky = ["is no better than chance"] if chance(first["p_chance"]) else []
            verdict = " and ".join([*lucky, *([f"is not told apart from {', '.join(near)}"] if near else [])])
            line = f"no acquisition separates best: {where} {what} {verdict}"
        out.append(f"{target}: {line}")
    return out
