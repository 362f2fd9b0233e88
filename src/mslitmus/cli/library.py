"""`mslitmus library`: reference spectra built once into an index that opens at once. A thin shell over `search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from .terminal import console, errors

library_app = typer.Typer(help="Stored libraries for `mslitmus search`: build, show.", no_args_is_help=True)


@library_app.command("build")
def build_library(
    sources: Annotated[list[str], typer.Argument(help="Datasets of the store, or files, archives, folders.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    replace: Annotated[bool, typer.Option("--replace", help="Supersede a library of that name.")] = False,
) -> None:
    """Read reference spectra and store them as an index, with bounded memory."""
    from ..search import libraries, stored

    with errors.status("reading") as status:
        frames = libraries.frames_of(sources)
        about = stored.build(frames, out, sources=sources, say=status.update, replace=replace)
    console.print(_counts(about), highlight=False)
    console.print(f"library: {out.resolve()}", highlight=False, markup=False, soft_wrap=True)


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
