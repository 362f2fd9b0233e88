"""`mslitmus dilution RUNS`: what a search finds of a reference sample in ever thinner mixtures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import console, errors

if TYPE_CHECKING:
    import polars as pl

    from ..search.runs import Preparation
    from ..search.searching import Search


def judge_dilution(
    runs: Annotated[Path, typer.Argument(help="A folder of runs, one file of spectra each.")],
    samples: Annotated[Path, typer.Option(help="Tab-separated table: one row a run.")],
    level: Annotated[str, typer.Option(help="Its column with the percentage of the reference; 0: without.")],
    library: Annotated[list[str], typer.Option("--library", "-l", help="As in `mslitmus search`; repeatable.")],
    file: Annotated[str, typer.Option(help="Its column with the file's name; the suffix does not matter.")] = (
        "Filename"
    ),
    replicate: Annotated[str, typer.Option(help="Its column with the number of the replicate.")] = "Triplicate_number",
    out: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path("dilution"),
    score: Annotated[str, typer.Option(help="As in `mslitmus search`.")] = "entropy",
    tolerance: Annotated[str, typer.Option(help="Of fragment m/z.")] = "0.01Da",
    precursor: Annotated[str, typer.Option(help="Of the precursor m/z.")] = "10ppm",
    same: Annotated[list[str] | None, typer.Option(help="As in `mslitmus search`; repeatable.")] = None,
    ion_mode: Annotated[str | None, typer.Option(help="Of spectra that state none.")] = None,
    merge: Annotated[bool, typer.Option("--merge/--no-merge", help="As in `mslitmus search`.")] = True,
    measure: Annotated[bool, typer.Option("--repair/--no-repair", help="As in `mslitmus search`.")] = True,
    noise: Annotated[float, typer.Option(help="As in `mslitmus search`.")] = 0.01,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="List no molecule that a run without the reference holds.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the table only.")] = False,
) -> None:
    """Judge a series of dilutions by the consistency of its hits, with thresholds chosen on other replicates."""
    import polars as pl

    from ..provenance import write_parquet
    from ..search.dilution import dilution
    from ..search.queries import check_ion_mode
    from ..search.repeats import Repeats
    from ..search.runs import Preparation
    from ..search.searching import Search
    from .confidence import show_table

    table = read_samples(samples, file, level, replicate)
    asked = Search(score=score, tolerance=tolerance, precursor=precursor, top_k=1, same=tuple(same or ()))
    how = Preparation(Repeats() if merge else None, noise, measure)
    hits = _hits(runs, table, library, asked, how, check_ion_mode(ion_mode), quiet)
    found = dilution(hits, table, exclusive=exclusive)
    out.mkdir(parents=True, exist_ok=True)
    write_parquet(out / "hits.parquet", hits)
    write_parquet(out / "runs.parquet", found.runs)
    write_parquet(out / "levels.parquet", found.levels)
    three = found.levels.filter(pl.col("matched_peaks") == 3)
    shown = ("chosen", "level", "files", "listed", "true", "spurious", "precision", "true_rate", "f1", "overlap")
    show_table("Consistency with the undiluted runs, three matched peaks; means over files", three.select(shown))
    console.print(f"tables: {out.resolve()}", highlight=False, soft_wrap=True)


def read_samples(path: Path, file: str, level: str, replicate: str) -> pl.DataFrame:
    """Schema `search.dilution.RUNS`; `file` is the stem. Raises SchemaError for an absent column."""
    import polars as pl

    from ..errors import SchemaError

    table = pl.read_csv(path, separator="\t", infer_schema_length=None)
    if absent := [name for name in (file, level, replicate) if name not in table.columns]:
        remedy = f"its columns are {', '.join(table.columns)}"
        raise SchemaError(f"columns absent: {', '.join(absent)}", where=str(path), remedy=remedy)
    return table.select(
        file=pl.col(file).str.replace(r"\.[^.]*$", ""),
        replicate=pl.col(replicate).cast(pl.Int64),
        level=pl.col(level).cast(pl.Float64),
    ).drop_nulls()


def _hits(
    folder: Path,
    table: pl.DataFrame,
    library: list[str],
    asked: Search,
    how: Preparation,
    ion_mode: str | None,
    quiet: bool,
) -> pl.DataFrame:
    """file, molecule, score, matched_peaks: the first hit of every spectrum of every run of the table, prepared and
    searched as `mslitmus search` does."""
    import polars as pl

    from ..errors import DataError
    from ..search.libraries import open_libraries
    from ..search.queries import Intake, read
    from ..search.searching import stream

    def say(line: str) -> None:
        if not quiet:
            errors.print(line, highlight=False, markup=False, soft_wrap=True)

    opened = open_libraries(library, say)
    wanted = set(table["file"])
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stem in wanted)
    if not files:
        what, remedy = "no file is named in the table of samples", "names without suffix must be equal"
        raise DataError(what, where=str(folder), remedy=remedy)
    parts = []
    for path in files:
        intake = Intake()
        frames = read([path], how, intake, ion_mode=ion_mode)
        try:
            found = [answer.hits for answer in stream(frames, opened, asked, notes=intake.notes)]
        except DataError as error:  # a blank may hold no MS/MS spectrum: it has no hits
            if intake.spectra:
                raise
            found = []
            say(f"{path.name}: {error.message}")
        queries = sum(each["identifier"].n_unique() for each in found)
        say(f"{path.name}: {intake.spectra:,} spectra, {queries:,} with a hit")
        for line in intake.lines():
            say(f"{path.name}: {line}")
        for hits in found:
            columns = {"molecule": "inchikey14", "score": "score", "matched_peaks": "matched_peaks"}
            parts.append(hits.select(file=pl.lit(path.stem), **columns))
    if not parts:
        raise DataError("no run holds an MS/MS spectrum", where=str(folder), remedy="`msconvert` must keep MS level 2")
    return pl.concat(parts)
