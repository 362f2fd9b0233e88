"""`mslitmus audit`: run every audit that the inputs allow on a run, or on files of predictions. A thin shell.

Exit codes: 0 no fatal finding, 1 a fatal finding, 2 an error (an audit that failed among them), 130 Ctrl-C.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError, MslitmusError
from .cohort_why import audit_cohort, write_page
from .referee import (
    BenchName,
    DataFilters,
    DatasetName,
    SplitParameters,
    SplitSeed,
    TaskName,
    TaskOptions,
    TrackName,
    _either,
    _named,
    _say,
    _split,
    _yaml,
    chosen_controls,
)
from .terminal import console, errors

FATAL, ERROR, INTERRUPTED = 1, 2, 130

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        help="A run folder; or files of predictions with --task, --dataset, --split (or --bench, --track, --split), as "
        "`mslitmus score` takes them.",
        metavar="RUN | [NAME=]PATH…",
    ),
]


def audit_run(
    context: typer.Context,
    targets: Targets = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="An audit by name, whatever it costs. Repeatable.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Let audits ask the saved models.")] = False,
    command: Annotated[
        str,
        typer.Option(help="A model behind a command line, [NAME=]COMMAND with {queries} and {out}: it can be asked."),
    ] = "",
    pretraining: Annotated[
        list[str] | None,
        typer.Option(help="SMILES that a model met before training, LIST[:MODEL]: .smi, .tsv, .csv. Repeatable."),
    ] = None,
    claims: Annotated[
        Path | None, typer.Option(help="What an author claims, in YAML; see docs/audits/confidence.md.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print what passed, too.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Write audit.json and the report into the run.")
    ] = True,
    task: TaskName = "",
    dataset: DatasetName = "",
    bench: BenchName = "",
    track: TrackName = "",
    split: Annotated[
        str, typer.Option("--split", help="Of files of predictions: a split, or split:form; of a benchmark, its own.")
    ] = "",
    seed: SplitSeed = 0,
    split_parameters: SplitParameters = "",
    task_options: TaskOptions = "",
    data: DataFilters = "",
    controls: Annotated[str, typer.Option(help="Of files of predictions: all, blind or none.")] = "all",
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="As of `mslitmus score`.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of runs, for files of predictions.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of that run; default: of the first file.")] = None,
) -> None:
    """Catch out models: run every audit that the inputs allow. Ends with 1 on a fatal finding, with 2 on an error."""
    with _errors_end_with_two():
        chosen: dict[str, Any] = {
            "task": task, "dataset": dataset, "bench": bench, "track": track, "split": split, "seed": seed,
            "split_parameters": split_parameters, "task_options": task_options, "data": data, "controls": controls,
            "allow_missing": allow_missing, "out": out, "name": name,
        }  # fmt: skip
        root = _run_folder(context, targets or [], chosen)
        asked = {"live": live, "command": command, "pretraining": pretraining or [], "claims": claims}
        code = _audit(root, only or [], asked, keep=keep, verbose=verbose)
    raise typer.Exit(code)


def _audit(root: Path, only: list[str], asked: dict[str, Any], *, keep: bool, verbose: bool) -> int:
    """Audit a run folder, print and keep what was found; returns the exit code."""
    from ..audits.cohort import is_cohort

    if is_cohort(root):
        code = audit_cohort(root, keep=keep, verbose=verbose)
        if keep:
            console.print(f"report: {write_page(root).resolve()}", highlight=False, soft_wrap=True)
        return code
    from ..report import build
    from ..report.findings import of_record
    from ..report.findings_table import FindingsTable
    from ..studies import auditing

    names, left = auditing.wanted(only, bool(asked["live"] or asked["command"]))
    if keep and root.is_dir():
        auditing.require_writable(root)
    with tempfile.TemporaryDirectory() as scratch:
        place = root / "audit" if keep else Path(scratch)
        evidence = _evidence(root, asked, place)
        outcomes, interrupted = auditing.audit(evidence, names, _tell)
        inputs = {key: value if isinstance(value, bool | list) else str(value or "") for key, value in asked.items()}
        record = auditing.record(root, outcomes, left, inputs)
        mine = auditing.of_call(record, outcomes, left)
    if keep:
        auditing.write(root, record)
    console.print(FindingsTable(of_record(mine), f"audit of {root.name}", verbose=verbose))
    if keep:
        console.print(f"report: {build(root).resolve()}", highlight=False, soft_wrap=True)
    if interrupted:
        return INTERRUPTED
    if any(finding.severity == "fatal" for outcome in outcomes for finding in outcome.findings):
        return FATAL
    return ERROR if any(outcome.error is not None for outcome in outcomes) else 0


def _evidence(root: Path, asked: dict[str, Any], place: Path) -> Any:
    from dataclasses import replace

    from ..studies import auditing
    from ..studies.declared import pretraining_list, read_claims
    from ..studies.evidence import evidence_of

    evidence = evidence_of(root, live=asked["live"], progress=_say)
    models, lists = sorted({key.model for key in evidence.cells}), []
    for text in asked["pretraining"]:
        found, said = pretraining_list(text, models)
        _say(said)
        lists.append(found)
    claims = read_claims(asked["claims"], models, list(evidence.tables.splits)) if asked["claims"] else ()
    evidence = replace(evidence, pretraining=tuple(lists), claims=claims)
    return auditing.with_command(evidence, asked["command"], place) if asked["command"] else evidence


def _run_folder(context: typer.Context, targets: list[str], chosen: dict[str, Any]) -> Path:
    """The run that is audited: the folder given, or the one that scoring the given files makes. Raises ConfigError."""
    if not targets:
        raise ConfigError("nothing to audit", where="RUN", remedy="give a run folder, or files of predictions")
    folder = Path(targets[0]).expanduser()
    if len(targets) == 1 and folder.is_dir():
        return folder
    if len(targets) == 1 and not folder.exists() and not chosen["split"]:
        raise ConfigError("no such run folder or file", where=targets[0], remedy="`mslitmus run` makes a run folder")
    _either(context, ("task", "dataset"), ("bench", "track"))
    if not chosen["split"]:
        remedy = "files of predictions need a split, as `mslitmus score` does: give --split"
        raise ConfigError("--split is missing", where=targets[0], remedy=remedy)
    named, controls = _named(targets), chosen_controls(chosen["controls"])
    title = next(iter(named)) if len(named) == 1 else "submissions"
    if chosen["bench"]:
        from ..referee import bench
        from ..referee.manifest import find

        track, split = chosen["track"], chosen["split"]
        root = chosen["out"] / (chosen["name"] or f"score-{title}.{track}.{split}")
        kept = {"controls": controls, "allow_missing": chosen["allow_missing"], "difficulty": True}
        return bench.score(find(chosen["bench"]), track, split, named, root, _say, **kept)
    from ..referee.submission import submission
    from ..studies.runner import run

    study = submission(
        named, chosen["task"], chosen["dataset"],
        _split(chosen["split"], chosen["seed"], chosen["split_parameters"]),
        task_options=_yaml(chosen["task_options"], "--task-options"), data=_yaml(chosen["data"], "--data"),
        controls=controls, allow_missing=chosen["allow_missing"],
    )  # fmt: skip
    return run(study, chosen["out"] / (chosen["name"] or f"score-{title}"), progress=_say)


def _tell(outcome: Any) -> None:
    """A line where an audit did not simply end; its findings are printed together, most severe first."""
    if outcome.error is not None:
        _say(f"  failed: {type(outcome.error).__name__}: {outcome.error}")
    elif outcome.not_run is not None:
        _say(f"  not run: {outcome.not_run}")


@contextmanager
def _errors_end_with_two() -> Iterator[None]:
    """1 means a fatal finding here, so what cannot be done ends with 2."""
    try:
        yield
    except (MslitmusError, OSError) as error:
        errors.print("[bold red]error[/] ", end="")
        errors.print(str(error), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(ERROR) from error
