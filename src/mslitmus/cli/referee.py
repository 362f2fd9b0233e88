"""`mslitmus score` and `mslitmus template`: judge predictions that were made anywhere. A thin shell over `referee`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .terminal import console, errors

TaskName = Annotated[str, typer.Option("--task", help="spectrum-prediction, retrieval or fingerprint.")]
DatasetName = Annotated[str, typer.Option("--dataset", help="A stored dataset, or `simulated`.")]
SplitName = Annotated[str, typer.Option("--split", help="A split, or split:form; of a benchmark, one of its splits.")]
BenchName = Annotated[
    str, typer.Option("--bench", help="A frozen benchmark, instead of --task and --dataset; see `mslitmus bench list`.")
]
TrackName = Annotated[str, typer.Option("--track", help="Of the benchmark.")]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split.")]
SplitParameters = Annotated[str, typer.Option(help="The split's own parameters as YAML, e.g. '{path: folds.csv}'.")]
TaskOptions = Annotated[
    str, typer.Option(help="The task's options as YAML, e.g. '{kind: formula, size: 64}'; see docs/tasks.md.")
]
DataFilters = Annotated[str, typer.Option("--data", help="Filters of a study's `data` as YAML, e.g. '{min_peaks: 3}'.")]
Predictions = Annotated[
    list[str],
    typer.Argument(
        help="Files of predictions, PATH or NAME=PATH: one row of the leaderboard each.", metavar="[NAME=]PATH"
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="Repeatable; default: those of the task. Of retrieval, absence-auc tells from the same scores how far "
        "they would betray a pool without the truth.",
    ),
]


def score_predictions(
    context: typer.Context,
    predictions: Predictions,
    split: SplitName,
    task: TaskName = "",
    dataset: DatasetName = "",
    bench: BenchName = "",
    track: TrackName = "",
    seed: SplitSeed = 0,
    split_parameters: SplitParameters = "",
    task_options: TaskOptions = "",
    data: DataFilters = "",
    metric: Metrics = None,
    controls: Annotated[str, typer.Option(help="all, blind (no look-up in the training spectra) or none.")] = "all",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Queries without prediction count as failed; default: refuse.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 2000,
    difficulty: Annotated[bool, typer.Option(help="Measure how hard the split is.")] = True,
    out: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run folder; default: of the first file.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run left in the folder.")] = False,
) -> None:
    """Score predictions made anywhere: checked, with intervals, beside the task's controls, with a report."""
    from ..referee.submission import submission
    from ..studies.runner import run
    from .app import show_run

    named, standing = _named(predictions), chosen_controls(controls)
    _either(context, ("task", "dataset"), ("bench", "track"))
    if bench:
        from ..referee import bench as frozen
        from ..referee.manifest import find

        folder = out / (name or f"score-{next(iter(named)) if len(named) == 1 else 'submissions'}.{track}.{split}")
        chosen = {"controls": standing, "allow_missing": allow_missing, "difficulty": difficulty, "fresh": fresh}
        show_run(frozen.score(find(bench), track, split, named, folder, _say, **chosen))
        return
    study = submission(
        named,
        task,
        dataset,
        _split(split, seed, split_parameters),
        task_options=_yaml(task_options, "--task-options"),
        data=_yaml(data, "--data"),
        metrics=metric or (),
        controls=standing,
        allow_missing=allow_missing,
        resamples=resamples,
        difficulty=difficulty,
    )
    show_run(run(study, out / (name or f"score-{study.name}"), progress=_say, fresh=fresh))


def write_template(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="File to write; its ending says the format: .parquet .jsonl .csv .mgf")],
    split: SplitName,
    task: TaskName = "",
    dataset: DatasetName = "",
    bench: BenchName = "",
    track: TrackName = "",
    seed: SplitSeed = 0,
    split_parameters: SplitParameters = "",
    task_options: TaskOptions = "",
    data: DataFilters = "",
    fold: Annotated[str, typer.Option(help="test, val or both.")] = "test",
    training: Annotated[
        Path | None, typer.Option(help="Folder for train.parquet and val.parquet, structures included.")
    ] = None,
) -> None:
    """Write the blind query file that an outsider fills in, with a readme of how to answer."""
    from ..errors import ConfigError
    from ..referee.blind import write_blind
    from ..referee.submission import submission

    if fold not in ("test", "val", "both"):
        raise ConfigError(f"fold {fold!r}", where="--fold", remedy="test, val or both")
    _either(context, ("task", "dataset"), ("bench", "track"))
    if bench:
        from ..referee.bench import ask
        from ..referee.manifest import find

        made = ask(find(bench), track, split, out, _say, fold=fold, training=training)
    else:
        study = submission(
            {},
            task,
            dataset,
            _split(split, seed, split_parameters),
            task_options=_yaml(task_options, "--task-options"),
            data=_yaml(data, "--data"),
        )
        made = write_blind(study, out, _say, fold=fold, training=training)
    console.print(f"{made.rows:,} queries: {made.queries}", highlight=False, soft_wrap=True)
    console.print(f"how to answer: {made.readme}", highlight=False, soft_wrap=True)
    for path in made.training:
        console.print(f"to learn from: {path}", highlight=False, soft_wrap=True)


def _named(texts: list[str]) -> dict[str, Path]:
    """Leaderboard name → file, from PATH (named by its file) or NAME=PATH. ConfigError where two share a name."""
    from ..errors import ConfigError

    named: dict[str, Path] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not equals or "/" in name or Path(text).is_file():
            name, rest = Path(text).name.partition(".")[0], text
        if not name or not rest:
            raise ConfigError("no name or no path", where=text, remedy="write PATH or NAME=PATH")
        path = Path(rest).expanduser()
        if name in named:
            what = f"two rows would be called {name!r}: {named[name]} and {path}"
            raise ConfigError(what, where=text, remedy=f"name them: '{name} 1={named[name]}' '{name} 2={path}'")
        named[name] = path
    return named


def _split(text: str, seed: int, parameters: str) -> dict[str, Any]:
    method, _, form = text.partition(":")
    return {"method": method, "form": form or None, "seed": seed, "parameters": _yaml(parameters, "--split-parameters")}


def _either(context: typer.Context, free: tuple[str, ...], frozen: tuple[str, ...]) -> None:
    """Options of a free choice or of a benchmark, which has settled what is asked. Raises ConfigError for a mixture."""
    from ..errors import ConfigError

    settled = (*free, "seed", "split_parameters", "task_options", "data", "metric", "resamples")
    given = {name for name in context.params if (source := context.get_parameter_source(name)) and _typed(source)}
    wanted, unwanted = (frozen, settled) if given & set(frozen) else (free, frozen)
    if both := [name for name in unwanted if name in given]:
        option = f"--{both[0].replace('_', '-')}"
        raise ConfigError(f"a benchmark settles {option}", where=option, remedy="leave it out, or leave out --bench")
    if absent := [name for name in wanted if name not in given]:
        remedy = "name --task and --dataset, or --bench and --track"
        raise ConfigError(f"--{absent[0]} is missing", where=f"--{absent[0]}", remedy=remedy)


def _typed(source: Any) -> bool:
    """Whether an option was given by the user, and is no default."""
    return source.name in ("COMMANDLINE", "ENVIRONMENT", "PROMPT")


def _say(line: str) -> None:
    errors.print(line, highlight=False, markup=False, soft_wrap=True)


def chosen_controls(controls: str) -> Any:
    """`all`, `blind` or `none`. Raises ConfigError for anything else."""
    from ..errors import ConfigError

    if controls not in ("all", "blind", "none"):
        raise ConfigError(f"controls {controls!r}", where="--controls", remedy="all, blind or none")
    return controls


def _yaml(text: str, option: str) -> dict[str, Any]:
    """A mapping written on the command line. Raises ConfigError that names the option."""
    import yaml

    from ..errors import ConfigError

    remedy = "write a YAML mapping, e.g. '{size: 256}'"
    try:
        value = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=option, remedy=remedy) from error
    if not isinstance(value, dict):
        raise ConfigError("not a mapping", where=option, remedy=remedy)
    return value
