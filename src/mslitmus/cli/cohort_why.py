"""What stands behind a cohort's result: `mslitmus markers`, `mslitmus cohort-example`, and the audits and the page of a
cohort's run folder. A thin shell over `cohort.markers`, `audits.cohort` and `report.cohort_page`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .terminal import console, errors

FATAL = 1
_TOLD = 8  # markers in the terminal


def find_markers(
    run: Annotated[Path, typer.Argument(help="The run folder of a cohort.")],
    library: Annotated[
        list[str] | None,
        typer.Option("--library", "-l", help="A dataset, file or index that names markers."),
    ] = None,
    confidence: Annotated[Path | None, typer.Option(help="Calibration of `mslitmus confidence`.")] = None,
    normalise: Annotated[str, typer.Option(help="none, or total: divide by all that a sample has.")] = "none",
    adjust: Annotated[str, typer.Option(help="none, or batch: centre every batch.")] = "none",
    abundance: Annotated[str, typer.Option(help="intensity, count of spectra, or auto.")] = "auto",
    precursor: Annotated[str, typer.Option(help="Of one family.")] = "10ppm",
    similarity: Annotated[float, typer.Option(help="Least cosine of one family, 0 to 1.")] = 0.7,
) -> None:
    """Which spectral families make the difference between the samples? Writes markers and the page of a cohort."""
    from ..cohort.design import Weighing
    from ..cohort.families import Likeness
    from ..cohort.markers import MarkerSettings

    like = Likeness(precursor=precursor, similarity=similarity)
    how = MarkerSettings(like, Weighing(abundance, normalise, adjust))  # type: ignore[arg-type]
    with errors.status("reading the cohort") as status:
        found = explain(run, library or (), calibration(confidence, library or ()), status.update, how)
        page = write_page(run)
    tell_markers(found, run)
    console.print(f"report: {page.resolve()}", highlight=False, markup=False, soft_wrap=True)


def calibration(path: Path | None, library: Any) -> Any:
    """That of a file, checked before anything else is done; None where none was named.

    Raises DataError for a file that is none, ConfigError where it does not fit.
    """
    from ..cohort.markers import check_confidence
    from ..search.confidence import load

    found = None if path is None else load(path)
    check_confidence(found, len(library))
    return found


def explain(run: Path, library: Any, calibrated: Any, say: Callable[[str], None], how: Any = None) -> Any:
    """Markers, with their hits; returns the table."""
    from ..cohort.markers import find
    from ..search.libraries import open_libraries

    return find(run, how, open_libraries(list(library), say), calibrated, say)


def tell_markers(found: Any, run: Path) -> None:
    """How many there are of each target, the best by name, and how sure the names are."""
    for (acquisition, target), mine in found.group_by("acquisition", "target", maintain_order=True):
        real = mine.filter(mine["q"] <= 0.05)
        where = "" if acquisition is None else f" ({acquisition})"
        line = f"{target}{where}: {real.height:,} of {mine.height:,} families at a false discovery rate of 5 %"
        best = real.select("name", "precursor_mz", "probability").head(_TOLD).iter_rows()
        names = [(n or f"m/z {mz:.4f}") + (f" ({p:.0%})" if n and p is not None else "") for n, mz, p in best]
        console.print(line + (f": {', '.join(names)}" if names else ""), highlight=False, markup=False, soft_wrap=True)
    if found["name"].null_count() < found.height:
        console.print(_sureness(run), highlight=False, markup=False, soft_wrap=True)


def _sureness(run: Path) -> str:
    """What the names of markers are worth."""
    from ..report.cohort_files import read_cohort

    about = read_cohort(run).markers_about
    if not about.get("calibrated"):
        return "names are the best hits; how sure they are is not known: nothing was calibrated (--confidence)"
    doubted = "".join(f"; the calibration was made with {each}" for each in about.get("doubts", ()))
    return f"in brackets: probability that the name is right, as calibrated{doubted}"


def tell_why(run: Path, found: Any) -> None:
    """Markers, audits and the page of a cohort that was just answered."""
    tell_markers(found, run)
    audit_cohort(run)
    console.print(f"report: {write_page(run).resolve()}", highlight=False, markup=False, soft_wrap=True)


def published(
    study: str | None, factor: str, sheet: Path | None, data: Path | None, say: Callable[[str], None]
) -> tuple[Path, Path, dict[str, Any]]:
    """(sheet, runs, settings) of a published cohort, or those given. Raises ConfigError where there is neither."""
    from ..cohort.studies import prepare
    from ..data.cohorts import cohort_studies, cohort_study
    from ..errors import ConfigError

    if study is not None:
        if sheet is not None:
            raise ConfigError("a sheet and --study", remedy="name one of them")
        about = cohort_study(study)
        ready = prepare(about, data, factor, say=say)
        told = [f"{each.by}: {each.metric} {each.value:g}" for each in about.published]
        for line in (f"{about.title} ({about.project}); {about.license}", f"sheet: {ready.sheet}", *told):
            errors.print(line, highlight=False, markup=False, soft_wrap=True)
        return ready.sheet, ready.data, ready.settings
    if sheet is None or data is None:
        known = ", ".join(cohort_studies())
        remedy = f"mslitmus cohort SAMPLES.tsv --data DIR, or --study with one of {known}"
        raise ConfigError("the sheet or --data is missing", where="mslitmus cohort", remedy=remedy)
    return sheet, data, {}


def write_page(run: Path) -> Path:
    """The page of a cohort's run folder."""
    from ..report.cohort_page import write

    return write(run)


def audit_cohort(run: Path, *, keep: bool = True, verbose: bool = False) -> int:
    """Audit the run folder of a cohort, print what was found; 1 on a fatal finding."""
    from ..audits.cohort import examine_cohort, write
    from ..report.findings import of_record
    from ..report.findings_table import FindingsTable

    findings = examine_cohort(run)
    if keep:
        write(run, findings)
    record = {"findings": [finding.to_json() for finding in findings], "not_run": {}, "failed": {}}
    console.print(FindingsTable(of_record(record), f"audit of {run.resolve().name}", verbose=verbose))
    return FATAL if any(finding.severity == "fatal" for finding in findings) else 0


def write_example(
    out: Annotated[Path, typer.Argument(help="Folder to write into.")],
    subjects: Annotated[int, typer.Option(help="Cases, and as many controls.")] = 40,
    molecules: Annotated[int, typer.Option(help="Of the simulated data.")] = 150,
    planted: Annotated[int, typer.Option(help="Ions that differ between the groups.")] = 12,
    effect: Annotated[float, typer.Option(help="By so much, log2.")] = 2.0,
    confounded: Annotated[bool, typer.Option("--confounded", help="Each group in its own batches.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
) -> None:
    """Write a made-up case–control study: MGF files, a sample sheet, and the truth."""
    from ..cohort.simulated import Plan, write

    what = {"molecules": molecules, "planted": planted, "effect": effect, "confounded": confounded, "seed": seed}
    plan = Plan(subjects, subjects, **what)  # type: ignore[arg-type]
    with errors.status("simulating spectra"):
        truth = write(out, plan)
    for line in (
        f"{truth.height} ions, {planted} of them planted; the truth: {out / 'truth.tsv'}",
        f"mslitmus cohort {out / 'samples.tsv'} --data {out / 'runs'}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
