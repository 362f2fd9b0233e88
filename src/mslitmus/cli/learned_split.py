"""`mslitmus learn-split`: the split on which a predictor generalises worst, as a file that any study can use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import console, errors


def learn_split(
    dataset: Annotated[str, typer.Argument(help="A dataset of `mslitmus data list`.")],
    out: Annotated[Path, typer.Option(help="CSV for the split `folds`; the record goes beside it as .json.")],
    unit: Annotated[str, typer.Option(help="molecule, or spectrum (as Khoo & Barzilay).")] = "molecule",
    predictor: Annotated[str, typer.Option(help="linear or nearest.")] = "linear",
    ratio: Annotated[float, typer.Option(min=0.05, max=0.95, help="Target share of train and val.")] = 0.75,
    rounds: Annotated[int, typer.Option(min=1, help="At most so many rounds.")] = 20,
    patience: Annotated[int, typer.Option(min=1, help="Rounds without a wider gap.")] = 4,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Learning to Split (Bao & Barzilay 2022): an adversarial bound, never a headline."""
    from ..data import store
    from ..errors import ConfigError
    from ..provenance import write_json
    from ..train.learned_split import Settings
    from ..train.split_items import Items, fold_table, learned

    if unit not in ("molecule", "spectrum"):
        raise ConfigError(f"unit {unit!r}", where="--unit", remedy="molecule or spectrum")
    items = Items.of(store.load(dataset).frame(), "molecule" if unit == "molecule" else "spectrum")
    settings = Settings(ratio=ratio, rounds=rounds, patience=patience, seed=seed)

    def say(line: str) -> None:
        errors.print(line, highlight=False)

    found, record = learned(items, predictor, settings, say)
    out.parent.mkdir(parents=True, exist_ok=True)
    fold_table(items, found).write_csv(out)
    write_json(out.with_suffix(".json"), {"dataset": dataset, "seed": seed, **record})
    console.print(
        f"gap {record['gap']:.3f} (random split {record['gap_random']:+.3f}, shuffled answers "
        f"{record['gap_shuffled']:+.3f}), round {record['chosen']} of {len(record['rounds'])}",
        highlight=False,
    )
    for name, means in record["beside"].items():
        console.print(f"  {name}: random {means['random']:.3f}, learned {means['learned']:.3f}", highlight=False)
    console.print(f"folds: {out}", highlight=False, soft_wrap=True)
