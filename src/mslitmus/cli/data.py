"""`mslitmus data`: import, download, list, show and export datasets. A thin shell over `mslitmus.data`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import console, errors

if TYPE_CHECKING:
    from ..data.download import Progress
    from ..data.importer import Imported, Say

data_app = typer.Typer(
    help="Datasets: import, download, list, show, export. They live under MSLITMUS_HOME.", no_args_is_help=True
)

License = Annotated[
    list[str] | None, typer.Option("--license", help="Keep only records under this licence; may be repeated.")
]


@data_app.command("add")
def add_dataset(
    name: Annotated[str, typer.Argument(help="A name of the catalogue (`data list`), or `file` for your own.")],
    source: Annotated[
        list[Path] | None, typer.Option("--from", help="File, archive or folder; may be repeated. Default: download.")
    ] = None,
    as_name: Annotated[str | None, typer.Option("--as", help="Name in the store.")] = None,
    license: Annotated[str | None, typer.Option(help="Licence of records that state none.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
) -> None:
    """Import spectra: read, curate by named rules, store with the ledger."""
    from ..data import importer

    with _working() as (say, progress):
        done = importer.add(
            name, source or (), as_name=as_name, license=license, strict=strict, say=say, progress=progress
        )
    _report(done)


@data_app.command("get")
def get_dataset(
    name: Annotated[str, typer.Argument(help="A name of the catalogue (`data list`).")],
    source: Annotated[list[Path] | None, typer.Option("--from", help="Use this local copy instead.")] = None,
    as_name: Annotated[str | None, typer.Option("--as", help="Name in the store.")] = None,
    download_only: Annotated[bool, typer.Option("--download-only", help="Do not import.")] = False,
) -> None:
    """Download a dataset of the catalogue (with resume, retry and checksums) and import it."""
    from ..data import importer
    from ..data.catalogue import entry
    from ..errors import ConfigError

    if download_only and source:
        raise ConfigError("--download-only and --from exclude each other", remedy="leave one of them out")
    if download_only:
        with _working() as (say, progress):
            paths = importer.download(entry(name), say, progress)
        for path in paths:
            console.print(str(path), highlight=False, soft_wrap=True)
        return
    with _working() as (say, progress):
        done = importer.add(name, source or (), as_name=as_name, say=say, progress=progress)
    _report(done)


@data_app.command("list")
def list_datasets() -> None:
    """What is stored here, and what the catalogue can import."""
    from .data_tables import catalogue_table, stored_table

    console.print(stored_table())
    console.print(catalogue_table())


@data_app.command("show")
def show_dataset(
    name: Annotated[str, typer.Argument(help="A stored dataset; `name@1` is an older revision.")],
    license: License = None,
    examples: Annotated[bool, typer.Option("--examples", help="Show the ledger's examples too.")] = False,
) -> None:
    """Counts, licences, collision energies and the ledger of a dataset."""
    from ..data import store
    from . import data_tables

    dataset = store.load(name)
    for part in list(data_tables.overview(dataset, license)):
        console.print(part, highlight=False)
    console.print(data_tables.ledger_table(dataset.ledger, examples))


@data_app.command("export")
def export_dataset(
    name: Annotated[str, typer.Argument(help="A stored dataset.")],
    out: Annotated[Path, typer.Argument(help="File to write; its ending says the format: .mgf .msp .parquet .tsv")],
    license: License = None,
    format: Annotated[str | None, typer.Option(help="Format, where the ending does not say.")] = None,
) -> None:
    """Write a dataset to a file that other tools read."""
    from ..data import store
    from ..errors import DataError
    from ..spectra import formats

    frame = store.load(name).frame(license)
    if not out.parent.is_dir():
        raise DataError("no such folder", where=str(out.parent), remedy="create it first")
    formats.write(frame, out, format=format)
    console.print(f"{frame.height:,} spectra → {out}", highlight=False, soft_wrap=True)


@contextmanager
def _working() -> Iterator[tuple[Say, Progress]]:
    """A status line on stderr: what is going on, and the bytes of a download."""
    with errors.status("starting") as status:
        current = [""]

        def say(line: str) -> None:
            current[0] = line
            status.update(line)
            if not errors.is_terminal:
                errors.print(line, highlight=False, markup=False)

        def progress(done: int, total: int | None) -> None:
            share = f" of {total / 1e6:,.1f} MB ({100 * done / total:.0f} %)" if total else " MB"
            status.update(f"{current[0]}: {done / 1e6:,.1f}{share}")

        yield say, progress


def _report(done: Imported) -> None:
    from .data_tables import ledger_table

    dataset, info = done.dataset, done.dataset.info
    counts = info["counts"]
    console.print(ledger_table(dataset.ledger))
    console.print(
        f"{dataset.name} revision {info['revision']}: {counts['spectra']:,} spectra of {counts['molecules']:,} "
        f"molecules, hash {dataset.hash}",
        highlight=False,
    )
    if done.errors:
        what = f"{len(done.errors):,} places could not be read; all else is imported. The first:"
        errors.print(f"[bold red]error[/] {what}", highlight=False)
        errors.print(f"  {done.errors[0]}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)
