"""`mslitmus pretrain`: networks that learn from molecules alone, embedders that learn from spectra alone.

A thin shell over `train.pretrain`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .referee import _say, _split, _yaml
from .terminal import console

pretrain_app = typer.Typer(
    help="Pretrain encoders of molecules, or embedders of spectra; test molecules left out.", no_args_is_help=True
)

Molecules = Annotated[
    list[str] | None,
    typer.Option("--molecules", help="A file of SMILES, or the name of an imported list; repeatable."),
]
Study = Annotated[str, typer.Option(help="The study whose test and validation molecules stay unseen.")]
Dataset = Annotated[str, typer.Option(help="Instead of --study: a stored dataset, or `simulated`.")]
Splits = Annotated[list[str] | None, typer.Option(help="With --dataset: a split, or split:form; repeatable.")]
SplitSeed = Annotated[int, typer.Option(help="With --split.")]
SplitParameters = Annotated[str, typer.Option(help="With --split: its parameters as YAML.")]
Filters = Annotated[str, typer.Option(help="With --dataset: filters of a study's `data` as YAML.")]
Near = Annotated[float, typer.Option(min=0.3, max=1.0, help="Excluded from this Tanimoto similarity on.")]
Limit = Annotated[int | None, typer.Option(min=2, help="At most so many molecules, drawn by the seed.")]
Seed = Annotated[int, typer.Option(min=0)]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option(min=1)]
Processes = Annotated[int, typer.Option(min=1, help="For chemistry before the training.")]
Out = Annotated[Path, typer.Option(help="Folder of the weights.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run left in the folder.")]


@pretrain_app.callback()
def _pretrain() -> None:
    pass


@pretrain_app.command("molebert")
def pretrain_molebert(
    molecules: Molecules = None,
    study: Study = "",
    dataset: Dataset = "",
    split: Splits = None,
    split_seed: SplitSeed = 0,
    split_parameters: SplitParameters = "",
    data: Filters = "",
    encoder: Annotated[str, typer.Option(help="molebert, or another graph encoder.")] = "",
    config: Annotated[Path | None, typer.Option(help="Options as YAML, see configs/pretrain-molebert.yaml.")] = None,
    near: Near = 0.8,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_seconds: Annotated[float | None, typer.Option(min=1, help="Of each of the two stages.")] = None,
    processes: Processes = 2,
    out: Out = Path("pretrained/molebert"),
    fresh: Fresh = False,
) -> None:
    """Mole-BERT: tokens for atoms, then masked atoms and contrast. Stopped, it continues at the last epoch."""
    from ..train.pretrain.molecules import open_lists
    from ..train.pretrain.run import Setting, pretrain

    options = _options(config, encoder)
    lists = open_lists(molecules or [], processes=processes, progress=_say)
    held_out = _held_out(study, dataset, split or [], split_seed, split_parameters, data)
    setting = Setting(out, seed, limit, near, device, threads, max_seconds, processes, fresh)
    _tell(pretrain(_told(lists), held_out, options, setting, _say), out)


@pretrain_app.command("decoder")
def pretrain_the_decoder(
    molecules: Molecules = None,
    study: Study = "",
    dataset: Dataset = "",
    split: Splits = None,
    split_seed: SplitSeed = 0,
    split_parameters: SplitParameters = "",
    data: Filters = "",
    config: Annotated[Path | None, typer.Option(help="Options as YAML: model, flip, withhold, training.")] = None,
    near: Near = 0.8,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_seconds: Annotated[float | None, typer.Option(min=1, help="Of the training.")] = None,
    processes: Processes = 2,
    out: Out = Path("pretrained/decoder"),
    fresh: Fresh = False,
) -> None:
    """Fingerprint and formula → SMILES, for `weights` of spectrum-to-smiles. Stopped, it continues at the last one."""
    from ..train.pretrain.decoder import pretrain_decoder
    from ..train.pretrain.molecules import open_lists
    from ..train.pretrain.run import Setting

    options = _options(config, "")
    lists = open_lists(molecules or [], processes=processes, progress=_say)
    held_out = _held_out(study, dataset, split or [], split_seed, split_parameters, data)
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
    study: Study = "",
    dataset: Dataset = "",
    split: Splits = None,
    split_seed: SplitSeed = 0,
    split_parameters: SplitParameters = "",
    data: Filters = "",
    config: Annotated[Path | None, typer.Option(help="Options as YAML, see configs/pretrain-peaks.yaml.")] = None,
    near: Near = 0.8,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_seconds: Annotated[float | None, typer.Option(min=1)] = None,
    processes: Processes = 2,
    out: Out = Path("pretrained/peaks"),
    fresh: Fresh = False,
) -> None:
    """Masked peaks: a peak transformer learns the m/z of hidden peaks. Stopped, it continues at the last epoch."""
    from ..train.pretrain.peaks_run import open_spectra
    from ..train.pretrain.peaks_run import pretrain_peaks as work
    from ..train.pretrain.run import Setting

    held_out = _held_out(study, dataset, split or [], split_seed, split_parameters, data)
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
    """The file's options; an encoder named on the command line starts from its own defaults if the file's is another.

    Raises ConfigError for a file that cannot be read.
    """
    from ..errors import ConfigError

    options: dict[str, Any] = {}
    if config is not None:
        try:
            options = _yaml(config.read_text(encoding="utf-8"), str(config))
        except (OSError, UnicodeDecodeError) as error:
            remedy = "give a UTF-8 YAML file"
            raise ConfigError(f"cannot be read: {error}", where=str(config), remedy=remedy) from error
    known = options.get("encoder", "molebert")
    name = known.get("name") if isinstance(known, dict) else known
    if encoder and encoder != name:
        options["encoder"] = encoder
    return options


def _held_out(study: str, dataset: str, split: list[str], seed: int, parameters: str, data: str) -> Any:
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
