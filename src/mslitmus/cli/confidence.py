"""`mslitmus confidence LIBRARY`: calibrate a library search on the library itself, and say what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .terminal import console, errors

if TYPE_CHECKING:
    import polars as pl

    from ..search.evaluation import Evaluation
    from ..search.libraries import Reference
    from ..search.searching import Search


def calibrate_search(
    library: Annotated[str, typer.Argument(help="A dataset, a file, or a stored index, with structures.")],
    out: Annotated[Path, typer.Option(help="The JSON file that `mslitmus search --confidence` takes.")] = Path(
        "confidence.json"
    ),
    score: Annotated[str, typer.Option(help="As in `mslitmus search`.")] = "entropy",
    tolerance: Annotated[str, typer.Option(help="Of fragment m/z.")] = "0.01Da",
    intensity_power: Annotated[float, typer.Option(help="Of the cosines.")] = 1.0,
    mz_power: Annotated[float, typer.Option(help="Of the cosines.")] = 0.0,
    precursor: Annotated[str, typer.Option(help="How far the precursor m/z may lie apart.")] = "10ppm",
    same: Annotated[list[str] | None, typer.Option(help="Columns that must be equal, e.g. adduct; repeatable.")] = None,
    leave_out: Annotated[str, typer.Option(help="source: all spectra of the query's contributor; or spectrum.")] = (
        "source"
    ),
    max_similarity: Annotated[
        float | None, typer.Option(help="Leave out library spectra of at least this entropy similarity, e.g. 0.99.")
    ] = None,
    ion_mode: Annotated[str | None, typer.Option(help="positive or negative; default: both.")] = None,
    calibration: Annotated[float, typer.Option(help="Share of the molecules to fit on; the rest judges.")] = 0.3,
    page: Annotated[Path | None, typer.Option(help="Page to look at: FILE.html.")] = None,
    tables: Annotated[Path | None, typer.Option(help="Folder for the tables as Parquet files.")] = None,
    threads: Annotated[int | None, typer.Option(help="Default: all.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the tables only.")] = False,
) -> None:
    """Search a labelled library with its own spectra, fit the confidence, and judge it on molecules left out."""
    from ..search.evaluation import evaluate
    from ..search.left_out import LeftOut
    from ..search.libraries import open_libraries
    from ..search.queries import check_ion_mode
    from ..search.searching import Search
    from ..search.settings import settings
    from ..search.windows import Window
    from ..spectra.library import Scoring

    def say(line: str) -> None:
        if not quiet:
            errors.print(line, highlight=False, markup=False, soft_wrap=True)

    mode = check_ion_mode(ion_mode)
    made_for = Search(score, tolerance, intensity_power, mz_power, precursor, same=tuple(same or ()))
    window = Window(precursor, made_for.same, leave_out, max_similarity)
    [opened] = open_libraries([library], say)
    for note in opened.notes:
        say(note)
    asked = LeftOut.of(opened, Scoring(score, tolerance, intensity_power, mz_power), window, mode)
    told = settings(made_for, opened, mode, leave_out=leave_out, max_similarity=max_similarity)
    found = evaluate(asked, calibration=calibration, search=told, threads=threads, progress=say)
    found.confidence.save(out)
    if tables is not None:
        _write(found, tables)
    _show(found)
    if page is not None:
        from ..report.confidence_page import write_confidence

        facts = _facts(opened, made_for, told, found)
        console.print(f"page: {write_confidence(found, facts, page).resolve()}", highlight=False, soft_wrap=True)
    console.print(f"confidence: {out.resolve()}", highlight=False, soft_wrap=True)


def _facts(opened: Reference, made_for: Search, told: dict[str, Any], found: Evaluation) -> list[tuple[str, str]]:
    """What the page says of the library and the search."""
    spectra = f"{found.summary['spectra']:,} of {opened.spectra:,} spectra, {opened.molecules:,} molecules"
    left = "all spectra of the query's contributor" if told["leave_out"] == "source" else "the query's own spectrum"
    near = told["max_similarity"]
    return [
        ("Library", f"{opened.name}: {spectra}"),
        ("Ion mode", told["ion_mode"] or "both, apart"),
        ("Search", made_for.told() + (f", same {', '.join(made_for.same)}" if made_for.same else "")),
        ("Left out", left + (f", and what is at least {near:g} similar" if near else "")),
        ("Without a candidate", f"{found.summary['without_candidates']:,} spectra, not asked"),
        ("Fitted on", f"{found.confidence.record['molecules']:,} molecules, {found.summary['kind']} map"),
    ]


def _write(found: Evaluation, folder: Path) -> None:
    from ..provenance import write_json, write_parquet

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("answers", "strata", "signs", "rates", "curves", "isomers", "isomer_groups"):
        write_parquet(folder / f"{name}.parquet", getattr(found, name))
    write_json(folder / "summary.json", found.summary)


def _show(found: Evaluation) -> None:
    """The tables of the test molecules, and of the isomers."""
    import polars as pl

    titles = {
        "strata": "Right at first place, by what the library holds",
        "signs": "Telling right from wrong (each molecule weighs one)",
        "rates": "False discovery rate: estimated against true",
    }
    for name, title in titles.items():
        show_table(title, getattr(found, name))
    judged = found.isomer_groups.filter(pl.col("judged") > 0)
    if judged.height:
        show_table(f"Known isomers (our list): {_coverage(found)}", judged)
    summary = found.summary
    console.print(
        f"{summary['kind']} map, expected calibration error {summary['calibration_error']:.3f}; "
        f"{summary['without_candidates']:,} of {summary['spectra']:,} spectra have no candidate",
        highlight=False,
    )
    for row in summary["thresholds"]:
        if row["probability"] is None:
            console.print(f"at most {row['wanted']:.0%} wrong: {row['why_not']}", highlight=False)
            continue
        if row["error"] is None:
            console.print(f"at most {row['wanted']:.0%} wrong: no answer of the test is so sure", highlight=False)
            continue
        console.print(
            f"at most {row['wanted']:.0%} wrong: probability ≥ {row['probability']:.3f}; per molecule "
            f"{row['answered_molecule']:.0%} answered, {row['error_molecule']:.1%} of them wrong; per spectrum "
            f"{row['answered']:.0%} answered, {row['error']:.1%} wrong",
            highlight=False,
        )
        if row["promise"]:
            console.print(f"  {row['promise']}", highlight=False)


def _coverage(found: Evaluation) -> str:
    import polars as pl

    known = found.isomers.filter(pl.col("queries") > 0)
    groups, of = known["group"].n_unique(), found.isomer_groups.height
    return f"{known.height} of {found.isomers.height} isomers, {groups} of {of} groups have answers"


def show_table(title: str, frame: pl.DataFrame) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
