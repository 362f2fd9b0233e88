"""`mslitmus pretrain`: networks that learn from molecules alone, embedders that learn from spectra alone.

A thin shell over `train.pretrain`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import unseen
from .referee import _say
from .terminal import console

pretrain_app = typer.Typer(
    help="Pretrain encoders of molecules, or embedders of spectra; test molecules left out.", no_args_is_help=True
)

Molecules = Annotated[
    list[str] | None,
    typer.Option("--molecules", help="A file of SMILES, or the name of an imported list; repeatable."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option(min=1)]
Out = Annotated[Path, typer.Option(help="Folder of the weights.")]


@pretrain_app.callback()
def _pretrain() -> None:
    pass


@pretrain_app.command("molebert")
def pretrain_molebert(
    molecules: Molecules = None,
    study: unseen.Study = "",
    dataset: unseen.Dataset = "",
    split: unseen.Splits = None,
    split_seed: unseen.SplitSeed = 0,
    split_parameters: unseen.SplitParameters = "",
    data: unseen.Filters = "",
    encoder: Annotated[str, typer.Option(help="molebert, or another graph encoder.")] = "",
    config: Annotated[Path | None, typer.Option(help="Options as YAML, see configs/pretrain-molebert.yaml.")] = None,
    near: unseen.Near = 0.8,
    limit: unseen.Limit = None,
    seed: unseen.Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_seconds: Annotated[float | None, typer.Option(min=1, help="Of each of the two stages.")] = None,
    processes: unseen.Processes = 2,
    out: Out = Path("pretrained/molebert"),
    fresh: unseen.Fresh = False,
) -> None:
    """Mole-BERT: tokens for atoms, then masked atoms and contrast. Stopped, it continues at the last epoch."""
    from ..train.pretrain.folder import Setting
    from ..train.pretrain.molecules import open_lists
    from ..train.pretrain.run import pretrain

    options = _options(config, encoder)
    held_out = unseen.held_out_of(study, dataset, split or [], split_seed, split_parameters, data)
    lists = open_lists(molecules or [], processes=processes, progress=_say)
    setting = Setting(out, seed, limit, near, device, threads, max_seconds, processes, fresh)
    _tell(pretrain(_told(lists), held_out, options, setting, _say), out)


@pretrain_app.command("decoder")
def pretrain_the_decoder(
    molecules: Molecules = None,
    study: unseen.Study = "",
    dataset: unseen.Dataset = "",
    split: unseen.Splits = None,
    split_seed: unseen.SplitSeed = 0,
    split_parameters: unseen.SplitParameters = "",
    data: unseen.Filters = "",
    config: Annotated[Path | None, typer.Option(help="Options as YAML: model, flip, withhold, training.")] = None,
    near: unseen.Near = 0.8,
    limit: unseen.Limit = None,
    seed: unseen.Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_seconds: Annotated[float | None, typer.Option(min=1, help="Of the training.")] = None,
    processes: unseen.Processes = 2,
    out: Out = Path("pretrained/decoder"),
    fresh: unseen.Fresh = False,
) -> None:
    """Fingerprint and formula → SMILES, for `weights` of spectrum-to-smiles. Stopped, it continues at the last one."""
    from ..train.pretrain.decoder import pretrain_decoder
    from ..train.pretrain.folder import Setting
    from ..train.pretrain.molecules import open_lists

    options = _options(config, "")
    held_out = unseen.held_out_of(study, dataset, split or [], split_seed, split_parameters, data)
    lists = open_lists(molecules or [], processes=processes, progress=_say)
    setting = Setting(out, seed, limit, near, device, threads, max_seconds, processes, fresh)
    _tell(pretrain_decoder(_told(lists), held_out, options, setting, _say), out)


def _told(lists: list[Any]) -> list[Any]:
    """The lists, each one mentioned."""
    for each in lists:
        _say(f"{each.name}: {each.frame.height:,} molecules, {each.info.get('unreadable', 0):,} lines unreadable")
    return lists


def _tell(record: dict[str, Any], out: Path) -> None:
    for name, told in record["stages"].items():
        speed = f"{told['molecules_per_second']:,.0f} molecules/s" if told["molecules_per_second"] else ""
        console.print(f"{name}: {told['best_score']:.4f} at epoch {told['best_epoch']}  {speed}", highlight=False)
    console.print(f"weights: {out}", highlight=False, soft_wrap=True)


@pretrain_app.command("peaks")
def pretrain_peaks(
    spectra: Annotated[
        list[str] | None,
        typer.Option("--spectra", help="A stored dataset or a file; default: the study's; repeatable."),
    ] = None,
    study: unseen.Study = "",
    dataset: unseen.Dataset = "",
    split: unseen.Splits = None,
    split_seed: unseen.SplitSeed = 0,
    split_parameters: unseen.SplitParameters = "",
    data: unseen.Filters = "",
    config: Annotated[Path | None, typer.Option(help="Options as YAML, see configs/pretrain-peaks.yaml.")] = None,
    near: unseen.Near = 0.8,
    limit: unseen.Limit = None,
    seed: unseen.Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_seconds: Annotated[float | None, typer.Option(min=1)] = None,
    processes: unseen.Processes = 2,
    out: Out = Path("pretrained/peaks"),
    fresh: unseen.Fresh = False,
) -> None:
    """Masked peaks: a peak transformer learns the m/z of hidden peaks. Stopped, it continues at the last epoch."""
    from ..train.pretrain.folder import Setting
    from ..train.pretrain.peaks_run import open_spectra
    from ..train.pretrain.peaks_run import pretrain_peaks as work

    held_out = unseen.held_out_of(study, dataset, split or [], split_seed, split_parameters, data)
    rows = open_spectra(spectra or [str(held_out.record["dataset"])], progress=_say)
    setting = Setting(out, seed, limit, near, device, threads, max_seconds, processes, fresh)
    told = work(rows, held_out, _options(config, ""), setting, _say)["training"]
    speed = f"{told['spectra_per_second']:,.0f} spectra/s" if told["spectra_per_second"] else ""
    guess = f"commonest bin {told['commonest_bin']:.4f}"
    console.print(
        f"hidden peaks told: {told['best_score']:.4f} at epoch {told['best_epoch']} ({guess})  {speed}", highlight=False
    )
    console.print(f"weights: {out}", highlight=False, soft_wrap=True)


def _options(config: Path | None, encoder: str) -> dict[str, Any]:
    """The file's options; an encoder of the command line starts from its own defaults if the file's is another."""
    options = unseen.configured(config)
    known = options.get("encoder", "molebert")
    name = known.get("name") if isinstance(known, dict) else known
    if encoder and encoder != name:
        options["encoder"] = encoder
    return options
