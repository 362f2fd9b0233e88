"""`mslitmus library`: reference spectra built once into an index that opens at once. A thin shell over `search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from ..errors import DataError
from .terminal import console, errors

_Scores = Annotated[list[str] | None, typer.Option(help="Score to index; may repeat. Default: the usual ones.")]
_Tolerances = Annotated[list[str] | None, typer.Option(help="Of fragment m/z, 0.01Da; may repeat.")]
_Power = Annotated[float, typer.Option(help="Of the cosines named.")]

library_app = typer.Typer(help="Stored libraries for `mslitmus search`: build, show.", no_args_is_help=True)


@library_app.command("build")
def build_library(
    sources: Annotated[list[str], typer.Argument(help="Datasets of the store, or files, archives, folders.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    replace: Annotated[bool, typer.Option("--replace", help="Supersede a library of that name.")] = False,
    score: _Scores = None,
    tolerance: _Tolerances = None,
    intensity_power: _Power = 1.0,
    mz_power: _Power = 0.0,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
) -> None:
    """Read reference spectra and store them with the index of these scores, in bounded memory."""
    from ..search import libraries, stored
    from ..spectra.formats import Problems

    problems = Problems("raise" if strict else "skip")
    scorings = stored.scorings_of(score or [], tolerance or ["0.01Da"], intensity_power, mz_power)
    with errors.status("reading") as status:
        frames = libraries.frames_of(sources, problems)
        try:
            about = stored.build(frames, out, sources=sources, say=status.update, scorings=scorings, replace=replace)
        except DataError as error:
            raise (problems.errors[0] if problems.errors else error) from error
    for line in problems.lines():
        errors.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(_counts(about), highlight=False)
    console.print(f"library: {out.resolve()}", highlight=False, markup=False, soft_wrap=True)
    if problems.errors:
        what = f"{len(problems.errors):,} places could not be read; all else is stored. The first:"
        errors.print(f"[bold red]error[/] {what}", highlight=False)
        errors.print(f"  {problems.errors[0]}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)


@library_app.command("add")
def add_index(
    library: Annotated[Path, typer.Argument(help="A stored library.")],
    score: _Scores = None,
    tolerance: _Tolerances = None,
    intensity_power: _Power = 1.0,
    mz_power: _Power = 0.0,
) -> None:
    """Store the index of further scores or tolerances, so that no search has to make it."""
    from ..search import stored

    scorings = stored.scorings_of(score or [], tolerance or ["0.01Da"], intensity_power, mz_power)
    with errors.status("indexing") as status:
        stored.add(library, scorings, status.update)
    told = "; ".join(scoring.told() for scoring in scorings)
    console.print(f"stored in {library}: {told}", highlight=False, markup=False, soft_wrap=True)


@library_app.command("show")
def show_library(
    names: Annotated[list[str], typer.Argument(help="Stored libraries, datasets or files.")],
) -> None:
    """How much is in a library, and of what kind."""
    from ..search.libraries import open_libraries

    names_of_numbers = ("spectra", "molecules", "positive", "negative", "unstated")
    right = [Column(name, justify="right", min_width=len(name)) for name in names_of_numbers]
    table = Table(Column("library", overflow="fold"), "kind", *right)
    with errors.status("opening") as status:
        opened = open_libraries(names, status.update)
    for each in opened:
        modes = {part.ion_mode: part.library.rows.height for part in each.parts}
        numbers = [each.spectra, each.molecules, *(modes.get(mode, 0) for mode in ("positive", "negative", None))]
        table.add_row(each.name, each.kind, *(f"{n:,}" for n in numbers))
    console.print(table)
    for each in opened:
        licences = ", ".join(f"{name} {count:,}" for name, count in each.licenses.items())
        console.print(f"{each.name}: {licences}", highlight=False, markup=False, soft_wrap=True)
        for note in each.notes:
            errors.print(f"{each.name}: {note}", highlight=False, markup=False, soft_wrap=True)


def _counts(about: dict[str, object]) -> str:
    spectra = about["spectra"]
    assert isinstance(spectra, dict)
    return ", ".join(f"{number:,} {mode}" for mode, number in spectra.items())
