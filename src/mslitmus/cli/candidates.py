"""`mslitmus candidates`: molecule lists and candidate sets. A thin shell over `data.candidates`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .terminal import console, errors

candidates_app = typer.Typer(
    help="Candidates for retrieval: import molecule lists, build, list and show sets.", no_args_is_help=True
)


@candidates_app.command("import")
def import_molecules(
    path: Annotated[Path, typer.Argument(help=".smi, .tsv, .csv (each also .gz) or .parquet.")],
    name: Annotated[str | None, typer.Option(help="Name in the store; default: of the file.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of the SMILES; default: told by its name.")] = None,
    processes: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Import a molecule list: standardised, de-duplicated, stored once."""
    from ..data.candidates import import_list

    with errors.status("reading") as status:
        made = import_list(
            path,
            name,
            column=column,
            processes=processes,
            progress=lambda done, total: status.update(f"{done:,} of {total:,} lines"),
        )
    info = made.info
    console.print(
        f"{made.name}: {made.frame.height:,} molecules of {info.get('lines', 0):,} lines, "
        f"{info.get('repeated', 0):,} repeated, {info.get('unreadable', 0):,} unreadable, hash {made.hash}",
        highlight=False,
    )
    for text in info.get("unreadable_examples", ()):
        errors.print(f"  unreadable: {text}", highlight=False, markup=False, soft_wrap=True)


@candidates_app.command("build")
def build_set(
    dataset: Annotated[str, typer.Argument(help="A stored dataset, or `simulated`: pools for all its molecules.")],
    kind: Annotated[str, typer.Option(help="mass (±10 ppm) or formula.")] = "mass",
    size: Annotated[int, typer.Option(min=2, help="Most candidates of a pool.")] = 64,
    molecules: Annotated[list[str] | None, typer.Option("--list", help="An imported list; repeatable.")] = None,
    fill: Annotated[bool, typer.Option(help="Fill up with edited decoys of the same formula.")] = True,
    name: Annotated[str | None, typer.Option(help="Name in the store; default: dataset-kind-size.")] = None,
    processes: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Build and store a candidate set. Stopped, it continues where it was."""
    from ..data.candidates import dataset_list, molecule_list
    from ..data.candidates.build import PoolSettings, build
    from ..data.simulate import opened

    own = opened(dataset).frame()
    own = own.select("inchikey14", "smiles").drop_nulls()
    settings = PoolSettings(kind=kind, size=size, fill=fill)  # type: ignore[arg-type]
    lists = [dataset_list(own), *(molecule_list(each) for each in molecules or ())]
    with errors.status("building") as status:
        made = build(
            own,
            lists,
            settings,
            lambda done, total: status.update(f"{done:,} of {total:,} molecules"),
            name=name or f"{dataset}-{kind}-{size}",
            processes=processes,
        )
    place = made.save()
    _show(made.name)
    console.print(f"stored: {place}", highlight=False, soft_wrap=True)


@candidates_app.command("massspecgym")
def import_massspecgym(
    path: Annotated[Path, typer.Argument(help="A candidate file of MassSpecGym: JSON, SMILES → list of SMILES.")],
    kind: Annotated[str, typer.Option(help="mass or formula, as the name of the file says.")] = "mass",
    mode: Annotated[str, typer.Option(help="repaired, or published: their order, spelling and repeats.")] = "repaired",
    dataset: Annotated[
        str | None, typer.Option(help="Keep only pools of molecules that this dataset has outside train.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name in the store; default: of the file, and the mode.")] = None,
    processes: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Import a candidate set as MassSpecGym publishes it. Every structure is standardised once, and remembered."""
    from ..data import store
    from ..data.candidates import from_json

    molecules = None
    if dataset is not None:
        frame = store.load(dataset).frame()
        held_out = frame.filter(frame["fold"].fill_null("") != "train")
        molecules = held_out.select("inchikey14", "smiles").drop_nulls().unique("inchikey14")
    with errors.status("reading") as status:
        made = from_json(
            path,
            molecules,
            mode,  # type: ignore[arg-type]
            kind=kind,
            name=name,
            processes=processes,
            progress=lambda done, total: status.update(f"{done:,} of {total:,} structures"),
        )
    place = made.save()
    _show(made.name)
    console.print(f"stored: {place}", highlight=False, soft_wrap=True)


@candidates_app.command("list")
def list_sets() -> None:
    """Molecule lists and candidate sets that are stored here."""
    from ..data.candidates import candidate_set, molecule_list
    from ..data.candidates.lists import names as list_names
    from ..data.candidates.sets import names as set_names

    lists = Table("list", "molecules", "hash", title="molecule lists", title_justify="left")
    for name in list_names():
        each = molecule_list(name)
        lists.add_row(name, f"{each.frame.height:,}", each.hash)
    sets = Table("set", "kind", "molecules", "candidates", "hash", title="candidate sets", title_justify="left")
    for name in set_names():
        found = candidate_set(name)
        sets.add_row(name, found.kind, f"{len(found.molecules):,}", f"{found.pools.height:,}", found.hash)
    console.print(lists)
    console.print(sets)


@candidates_app.command("show")
def show_set(name: Annotated[str, typer.Argument(help="A stored set, or the path of its folder.")]) -> None:
    """Pool sizes, chance level and where the candidates come from."""
    _show(name)


def _show(name: str) -> None:
    from ..data.candidates import candidate_set
    from ..data.candidates.describe import describe

    found = candidate_set(name)
    facts = describe(found)
    table = Table("", "all", "without decoys", title=f"{found.name}, hash {found.hash}", title_justify="left")
    table.add_row("molecules", f"{facts['molecules']:,}", "")
    for q in facts["size"]:
        table.add_row(f"pool size, {100 * float(q):g} % quantile", f"{facts['size'][q]:g}", f"{facts['real'][q]:g}")
    table.add_row("chance of a hit at 1", f"{facts['chance']:.4f}", f"{facts['chance_real']:.4f}")
    few = f"pools of at least {facts['at_least']}"
    table.add_row(few, f"{facts['large_enough']:,}", f"{facts['large_enough_real']:,}")
    for origin, count in facts["origins"].items():
        table.add_row(f"from {origin}", f"{count:,}", "")
    console.print(table)
