"""`mslitmus bench`: frozen benchmarks and their leaderboard page. A thin shell over `referee`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from ..errors import ConfigError
from .terminal import console, errors

bench_app = typer.Typer(
    help="Frozen benchmarks: data, folds, candidates and metrics under one hashed id.", no_args_is_help=True
)
Reference = Annotated[str, typer.Argument(help="An id of `mslitmus bench list`, or the path of a manifest.")]


def say(line: str) -> None:
    errors.print(line, highlight=False, markup=False)


@bench_app.command("freeze")
def freeze_recipe(
    recipe: Annotated[Path, typer.Argument(help="A recipe in YAML, see docs/bench.md.")],
    out: Annotated[Path | None, typer.Option(help="File to write; default: in the store, under the id.")] = None,
) -> None:
    """Compute the hashes of a benchmark and write its manifest. An id is frozen once."""
    from ..referee.freeze import freeze
    from ..referee.manifest import Manifest
    from ..referee.recipe import load

    place = freeze(load(recipe), say, out)
    made = Manifest.load(place)
    console.print(f"{made.id}, hash {made.hash}: {place}", highlight=False, soft_wrap=True)


@bench_app.command("verify")
def verify_bench(
    bench: Reference,
    track: Annotated[str | None, typer.Option(help="Only this track.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
) -> None:
    """Make everything again from this machine's store and compare. Ends with 1 where something differs."""
    from ..referee.freeze import verify
    from ..referee.manifest import find

    manifest = find(bench)
    findings = verify(manifest, say, track, split)
    table = Table("", "", "frozen", "here", title=f"{manifest.id}, hash {manifest.hash}", title_justify="left")
    for found in findings:
        table.add_row(found.piece, "ok" if found.same else "differs", found.frozen, found.here)
    console.print(table)
    differ = [found for found in findings if not found.same]
    for found in differ:
        console.print(f"{found.piece} differs: {found.why}", highlight=False, markup=False, soft_wrap=True)
    if differ:
        raise typer.Exit(1)


@bench_app.command("list")
def list_benches() -> None:
    """Benchmarks of the package, and those frozen here."""
    from ..referee.manifest import Manifest, known

    table = Table(*(Column(name, no_wrap=True) for name in ("id", "hash", "dataset", "frozen")))
    damaged = []
    for path in known().values():
        try:
            each = Manifest.load(path)
        except ConfigError as error:
            damaged.append(str(error))
            continue
        table.add_row(each.id, each.hash, each.recipe.data.name, str(each.made.get("date", ""))[:10])
    console.print(table)
    for message in damaged:
        errors.print(f"left out: {message}", highlight=False, markup=False, soft_wrap=True)


@bench_app.command("show")
def show_bench(bench: Reference) -> None:
    """What a benchmark asks, how large it is, and what it was made with."""
    from ..referee.manifest import find

    manifest = find(bench)
    recipe = manifest.recipe
    data = manifest.identity["dataset"]
    console.print(f"{manifest.id}  {recipe.title}".rstrip(), highlight=False, markup=False)
    console.print(f"hash {manifest.hash}; dataset {data['name']}, hash {data['hash']}", highlight=False, markup=False)
    whole = [Column(name, no_wrap=True) for name in ("track", "split")]
    numbers = ["records", "val queries", "test queries", "test molecules", "candidates"]
    table = Table(*whole, *(Column(name, justify="right") for name in numbers))
    for track, split in recipe.pairs():
        part = manifest.part(track.name, split.name)
        table.add_row(
            track.name,
            split.name,
            f"{part['records']['spectra']:,}",
            f"{part['queries of val']['spectra']:,}",
            f"{part['queries of test']['spectra']:,}",
            f"{part['queries of test']['molecules']:,}",
            f"{part['candidates']['candidates']:,}" if "candidates" in part else "",
        )
    console.print(table)
    for track in recipe.tracks:
        others = [name for name in track.metrics if name != track.primary_metric]
        line = f"{track.name}: {track.primary_metric}; {', '.join(others)}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    made = ", ".join(f"{name} {version}" for name, version in manifest.made.get("versions", {}).items())
    console.print(f"made {manifest.made.get('date', '')} with {made}", highlight=False, markup=False, soft_wrap=True)


@bench_app.command("page")
def make_page(
    bench: Reference,
    submissions: Annotated[Path, typer.Argument(help="Folder of <name>.<track>.<split>.<ending> and <name>.toml.")],
    out: Annotated[Path, typer.Option(help="Folder of the page and its runs.")] = Path("leaderboard"),
    controls: Annotated[str, typer.Option(help="all, blind or none.")] = "all",
    fresh: Annotated[bool, typer.Option("--fresh", help="Score everything again.")] = False,
) -> None:
    """Score a folder of submitted prediction files, and write the leaderboard as one HTML page."""
    from ..referee.leaderboard import judge
    from ..referee.manifest import find
    from ..report.leaderboard_page import write_page
    from .referee import chosen_controls

    judged = judge(find(bench), submissions, out, say, controls=chosen_controls(controls), fresh=fresh)
    console.print(f"leaderboard: {write_page(judged, out).resolve()}", highlight=False, soft_wrap=True)
