"""`mslitmus simulate`: many molecules in, simulated spectra out. A thin shell over `studies.simulating`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import unseen
from .referee import _say
from .terminal import console


def simulate_molecules(
    molecules: Annotated[list[str], typer.Argument(help="Files of SMILES, or names of imported lists.")],
    model: Annotated[Path, typer.Option(help="A run folder, or a cell's or model's folder: a predictor of spectra.")],
    out: Annotated[Path, typer.Option(help="Folder of the shards.")],
    row: Annotated[str | None, typer.Option(help="Model of the run; default: the best trained on validation.")] = None,
    study: unseen.Study = "",
    dataset: unseen.Dataset = "",
    split: unseen.Splits = None,
    split_seed: unseen.SplitSeed = 0,
    split_parameters: unseen.SplitParameters = "",
    data: unseen.Filters = "",
    declared: Annotated[
        list[str] | None,
        typer.Option("--declared", help="A list of a benchmark's molecules, excluded too; repeatable."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Conditions and imperfections as YAML.")] = None,
    near: unseen.Near = 0.8,
    limit: unseen.Limit = None,
    seed: unseen.Seed = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    processes: unseen.Processes = 2,
    fresh: unseen.Fresh = False,
) -> None:
    """Simulated spectra of lists of molecules, test molecules and their neighbours left out. Stopped, it continues."""
    from ..models.options import parse_options
    from ..studies.chosen_model import choose
    from ..studies.predicting import Predictor
    from ..studies.simulating import SimulationOptions, SimulationSetting, simulate_spectra
    from ..train.pretrain.molecules import open_lists

    options = parse_options(SimulationOptions, unseen.configured(config), where="simulation")
    held_out = _with_declared(
        unseen.held_out_of(study, dataset, split or [], split_seed, split_parameters, data), declared
    )
    chosen = choose(model, row, None, None)
    _say(f"model: {chosen.label}")
    loaded = chosen.load()
    if device != "cpu" and hasattr(loaded, "to"):
        from ..train.loop import resolve_device

        loaded.to(resolve_device(device))
    lists = open_lists(molecules, processes=processes, progress=_say)
    setting = SimulationSetting(out, seed, limit, near, processes, fresh)
    record = simulate_spectra(Predictor(loaded, chosen), lists, held_out, options, setting, _say)
    console.print(
        f"{record['spectra']:,} spectra of {record['molecules']['used']:,} molecules: {out}",
        highlight=False,
        soft_wrap=True,
    )


def _with_declared(held_out: Any, declared: list[str] | None) -> Any:
    """What is held out, and the molecules of declared lists."""
    from dataclasses import replace

    import polars as pl

    from ..studies.declared import pretraining_list

    for path in declared or []:
        found, said = pretraining_list(path, [])
        _say(said.replace("met by every trained model", "left out"))
        joined = pl.concat([held_out.molecules, found.molecules.select(held_out.molecules.columns)])
        record = {**held_out.record, "declared": [*held_out.record.get("declared", []), found.name]}
        held_out = replace(held_out, molecules=joined.unique("inchikey14", maintain_order=True), record=record)
    return held_out
