"""Options that `pretrain` and `simulate` share: whose molecules stay unseen, and how many of the others are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .referee import _split, _yaml

Study = Annotated[str, typer.Option(help="The study whose test and validation molecules stay unseen.")]
Dataset = Annotated[str, typer.Option(help="Instead of --study: a stored dataset, or `simulated`.")]
Splits = Annotated[list[str] | None, typer.Option(help="With --dataset: a split, or split:form; repeatable.")]
SplitSeed = Annotated[int, typer.Option(help="With --split.")]
SplitParameters = Annotated[str, typer.Option(help="With --split: its parameters as YAML.")]
Filters = Annotated[str, typer.Option(help="With --dataset: filters of a study's `data` as YAML.")]
Near = Annotated[float, typer.Option(min=0.3, max=1.0, help="Excluded from this Tanimoto similarity on.")]
Limit = Annotated[int | None, typer.Option(min=2, help="At most so many molecules, drawn by the seed.")]
Seed = Annotated[int, typer.Option(min=0)]
Processes = Annotated[int, typer.Option(min=1, help="For chemistry before the training.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run left in the folder.")]


def configured(config: Path | None) -> dict[str, Any]:
    """The options of a `--config` file. Raises ConfigError for a file that cannot be read."""
    from ..errors import ConfigError

    if config is None:
        return {}
    try:
        return _yaml(config.read_text(encoding="utf-8"), str(config))
    except (OSError, UnicodeDecodeError) as error:
        remedy = "give a UTF-8 YAML file"
        raise ConfigError(f"cannot be read: {error}", where=str(config), remedy=remedy) from error


def held_out_of(study: str, dataset: str, split: list[str], seed: int, parameters: str, data: str) -> Any:
    """The val and test molecules of every split that is named. Raises ConfigError where none is."""
    from ..errors import ConfigError
    from ..referee.submission import submission
    from ..studies.files import find, load
    from ..studies.held_out import held_out

    if study and (dataset or split):
        raise ConfigError("a study names its own dataset and splits", where="--study", remedy="leave one out")
    if study:
        return held_out([load(find(study))])
    if not dataset or not split:
        remedy = "name --study, or --dataset and --split: their test molecules are left out"
        raise ConfigError("nothing is held out", where="--dataset", remedy=remedy)
    filters = _yaml(data, "--data")
    made = [submission({}, "spectrum-prediction", dataset, _split(s, seed, parameters), data=filters) for s in split]
    return held_out(made)
