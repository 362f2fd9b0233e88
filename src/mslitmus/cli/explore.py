"""Commands that look at a dataset: how hard are its splits, what do its peaks say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .terminal import console

Licenses = Annotated[list[str] | None, typer.Option("--license", help="Keep records under this licence; repeatable.")]


def split_dataset(
    dataset: Annotated[str, typer.Argument(help="A dataset of `mslitmus data list`.")],
    method: Annotated[list[str], typer.Option(help="A split, or split:form; repeatable.")],
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to save folds and records in.")] = None,
    parameters: Annotated[
        str, typer.Option(help="The method's own parameters as YAML, e.g. '{fractions: [.7, .1, .2]}'.")
    ] = "",
    licenses: Licenses = None,
) -> None:
    """Make splits and print how hard each is, side by side."""
    import yaml

    from ..data import store
    from ..data.difficulty import MoleculeTable, difficulty, difficulty_table
    from ..data.splits import make_split
    from ..errors import ConfigError

    try:
        settings: Any = yaml.safe_load(parameters) or {}
    except yaml.YAMLError as error:
        raise ConfigError(
            f"not YAML: {error}", where="--parameters", remedy="e.g. '{fractions: [.7, .1, .2]}'"
        ) from error
    if not isinstance(settings, dict):
        raise ConfigError("not a mapping", where="--parameters", remedy="e.g. '{fractions: [.7, .1, .2]}'")
    frame = store.load(dataset).frame(licenses=licenses)
    molecules = MoleculeTable.of(frame)
    found = []
    for entry in method:
        name, _, form = entry.partition(":")
        split = make_split(frame, name, seed=seed, form=form or None, **settings)
        split.check(frame)
        found.append(difficulty(frame, split, seed=seed, molecules=molecules))
        if out is not None:
            split.save(out, entry.replace(":", "-"), difficulty=found[-1])
        for note in split.notes:
            console.print(f"{split.title}: {note}", highlight=False)
    sides = difficulty_table(found)
    table = Table("measure", *sides.columns[1:], title=f"Split difficulty of {dataset}", title_justify="left")
    for row in sides.iter_rows():
        table.add_row(str(row[0]), *(_number(value) for value in row[1:]))
    console.print(table)


def annotate_dataset(
    dataset: Annotated[str, typer.Argument(help="A dataset of `mslitmus data list`.")],
    out: Annotated[Path, typer.Argument(help="Parquet file to write: one row a candidate formula of a peak.")],
    ppm: Annotated[float, typer.Option(min=0.1, help="Tolerance.")] = 10.0,
    licenses: Licenses = None,
) -> None:
    """Annotate every peak with sub-formulae of its precursor, and print what they explain."""
    import polars as pl

    from ..chem.subformula import annotate_frame, explained
    from ..data import store
    from ..errors import DataError
    from ..provenance import write_parquet

    if out.is_dir() or not out.parent.is_dir():
        raise DataError("not a file in a folder that exists", where=str(out), remedy="name one, e.g. formulae.parquet")
    frame = store.load(dataset).frame(licenses=licenses)
    annotations = annotate_frame(frame, ppm=ppm)
    write_parquet(out, annotations)
    shares = explained(annotations, frame).join(frame.select("identifier", "source"), on="identifier")
    by_source = shares.group_by("source").agg(pl.len().alias("spectra"), pl.col("peaks", "intensity").mean())
    table = Table("source", "spectra", "peaks", "intensity", title=f"Explained within {ppm:g} ppm (mean of spectra)")
    for source, n, peaks, intensity in by_source.sort("spectra", "source", descending=[True, False]).iter_rows():
        table.add_row(str(source), f"{n:,}", f"{peaks:.1%}", f"{intensity:.1%}")
    console.print(table)
    console.print(f"{annotations.height:,} candidate formulae: {out}", highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.3f}"
