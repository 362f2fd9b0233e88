"""The tree of commands. Imports that cost time (RDKit, torch, polars) happen inside the command that needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from .audit import audit_run
from .bench import bench_app
from .candidates import candidates_app
from .card import write_card
from .cohort import answer_cohort
from .cohort_why import find_markers, write_example
from .confidence import calibrate_search
from .data import data_app
from .dilution import judge_dilution
from .embed import embed_spectra, fine_tune_embedder
from .explore import annotate_dataset, split_dataset
from .generate import generate_structures
from .learned_split import learn_split
from .library import library_app
from .predict import predict_spectra
from .pretrain import pretrain_app
from .referee import score_predictions, write_template
from .search import search_libraries
from .sensitivity import protocol_sensitivity
from .simulate import simulate_molecules
from .terminal import console, errors

app = typer.Typer(
    help="Train, compare, use and catch out machine-learning models of small-molecule MS/MS spectra.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(data_app, name="data")
app.add_typer(candidates_app, name="candidates")
app.add_typer(bench_app, name="bench")
app.add_typer(pretrain_app, name="pretrain")
app.add_typer(library_app, name="library")
app.command("split")(split_dataset)
app.command("learn-split")(learn_split)
app.command("annotate")(annotate_dataset)
app.command("embed")(embed_spectra)
app.command("fine-tune")(fine_tune_embedder)
app.command("score")(score_predictions)
app.command("audit")(audit_run)
app.command("card")(write_card)
app.command("predict")(predict_spectra)
app.command("generate")(generate_structures)
app.command("simulate")(simulate_molecules)
app.command("template")(write_template)
app.command("search")(search_libraries)
app.command("sensitivity")(protocol_sensitivity)
app.command("confidence")(calibrate_search)
app.command("dilution")(judge_dilution)
app.command("cohort")(answer_cohort)
app.command("cohort-example")(write_example)
app.command("markers")(find_markers)


def _version(show: bool) -> None:
    if show:
        console.print(f"mslitmus {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command("run")
def run_study(
    study: Annotated[str, typer.Argument(help="A YAML file, or the name of a packaged study: quickstart.")],
    out: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run folder; default: the study's name.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run left in the folder.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Check the study file and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the leaderboard only.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            help="Cells at a time; 0: as many as GPUs or cores have room for. Default: the study's, or 1.",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: the cells as tasks of a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster: auto or host:port; default: RAY_ADDRESS, else this machine.")
    ] = None,
) -> None:
    """Run a study from file to report. Started again after a kill, it continues where it was."""
    from ..studies.files import find, load

    path = find(study)
    config = load(path)
    if check:
        console.print(
            f"{path}: {len(config.splits)} splits × {len(config.models)} models: no complaint", highlight=False
        )
        return
    from ..studies.engines import engine_of
    from ..studies.runner import run

    if jobs is None and engine == "local":
        jobs = config.budget.jobs
    chosen = engine_of(engine, 1 if jobs is None else jobs, address)

    def say(line: str) -> None:
        if not quiet:
            errors.print(line, highlight=False, markup=False, soft_wrap=True)

    show_run(run(config, out / (name or config.name), progress=say, fresh=fresh, engine=chosen))


@app.command("report")
def build_report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Make the report of a run folder again, from its files alone."""
    show_run(run)


def show_run(run: Path) -> None:
    """Report page and leaderboard of a run folder."""
    from ..audits.cohort import is_cohort

    if is_cohort(run):
        from .cohort_why import write_page

        console.print(f"report: {write_page(run).resolve()}", highlight=False, soft_wrap=True)
        return
    from ..report import build
    from ..report.terminal import leaderboard_table

    page = build(run)
    console.print(leaderboard_table(run))
    console.print(f"report: {page.resolve()}", highlight=False, soft_wrap=True)


@app.command("list")
def list_parts(
    kind: Annotated[
        str | None, typer.Argument(help="splits, tasks, models, encoders, heads, formats or audits.")
    ] = None,
) -> None:
    """What can be named in a study file: every registered part, plug-ins included."""
    from .parts import parts_table

    console.print(parts_table(kind))
