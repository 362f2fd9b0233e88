"""A pretraining from molecules to weights, in one folder:

- `pretraining.json`  what was asked, which molecules were excluded and why, how both stages went;
- `molecules.parquet` InChIKey-14 of every molecule that took part (`validation`: judged by, not learned from);
- `weights.pt`, `options.json` the encoder, as `weights: <folder>` of an encoder wants it;
- `tokeniser/`, `encoder/` checkpoints of the two stages.

A killed run continues: the finished stage is kept, the other goes on from its last epoch.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from pydantic import Field

from ...data.candidates.lists import MoleculeList
from ...errors import ConfigError, DataError
from ...models import ENCODERS
from ...models.options import Options, parse_options
from ...models.predict.encoders.graphs import GraphFeaturiser
from ...models.predict.encoders.pretrained import RANDOM
from ...models.predict.features import FeatureStore
from ...models.protocol import FitReport
from ...provenance import write_json, write_parquet
from .. import fit
from .folder import RECORD, USED, WEIGHTS, Progress, Setting, alone_in, asked_of, begin, claim, finish
from .masked_atoms import MaskedAtoms
from .masking import check_maskable
from .molecules import HeldOut, exclude, join, list_record, used_hash
from .stage import Stage, accuracy
from .tokeniser import Tokeniser, TokeniserOptions

_STAGES = ("tokeniser", "encoder")
#: Files and folders that a pretraining leaves beside record, list and weights.
LEAVES = ("options.json",), (*_STAGES, "features")
_ALL = 2**62  # molecules held in memory: all of them


class PretrainOptions(Options):
    """What is trained and how: the keys of a `--config` file."""

    encoder: str | dict[str, Any] = "molebert"
    tokeniser: dict[str, Any] = Field(default_factory=dict)
    masking: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    validation: float = Field(0.05, gt=0, lt=1, description="share of the molecules that judges the epochs")


def pretrain(
    lists: Sequence[MoleculeList],
    held_out: HeldOut,
    options: Mapping[str, Any],
    setting: Setting,
    progress: Progress = print,
) -> dict[str, Any]:
    """Exclude, tokenise, pretrain; returns the record that it wrote.

    Raises ConfigError for options, RunError where the folder holds another pretraining or one is at work in it,
    DataError where no molecule is left. After Ctrl-C or a kill the same call goes on from the last epoch.
    """
    with alone_in(setting, *LEAVES):
        return _pretrain(lists, held_out, options, setting, progress)


def _pretrain(
    lists: Sequence[MoleculeList],
    held_out: HeldOut,
    options: Mapping[str, Any],
    setting: Setting,
    progress: Progress,
) -> dict[str, Any]:
    chosen = parse_options(PretrainOptions, options, where="pretraining")
    encoder, encoder_options = _encoder(chosen.encoder)
    tokeniser_options = parse_options(TokeniserOptions, chosen.tokeniser, where="tokeniser")
    features = setting.folder / "features"
    graphs = FeatureStore(GraphFeaturiser(), features, _ALL, setting.processes, progress, memory=_ALL)
    tokeniser = Tokeniser(tokeniser_options, graphs)
    masked = MaskedAtoms.of(encoder, encoder_options, chosen.masking, chosen.training, tokeniser, _ALL)
    described = {**masked.described(), "tokeniser": tokeniser.described(), "validation": chosen.validation}
    given = {"options": described, "lists": [list_record(each) for each in lists]}
    asked = asked_of("molebert", setting, held_out, **given)
    if done := claim(setting.folder, asked, progress):
        return done
    train, val, molecules = drawn_molecules(lists, held_out, setting, chosen.validation, progress)
    record = begin(setting.folder, asked, {**molecules, "stages": {}})

    def stage(model: Stage, name: str) -> dict[str, Any]:
        progress(f"{name}: {train.height:,} molecules, judged on {min(val.height, model.training.val_limit):,}")
        return told(fit(model, train, val, setting.context(setting.folder / name, accuracy, progress)), train.height)

    record["stages"]["tokeniser"] = stage(tokeniser, _STAGES[0])
    use = tokeniser.code_use(train["smiles"].to_list())
    record["stages"]["tokeniser"]["codes"] = vars(use)
    progress(f"codes: {use.used} of {use.codes} in use, perplexity {use.perplexity:g}")
    write_json(setting.folder / RECORD, record)
    record["stages"]["encoder"] = stage(masked, _STAGES[1])
    record["stages"]["encoder"]["commonest_token"] = masked.guess(val["smiles"].to_list())
    _export(masked, setting.folder)
    shutil.rmtree(features, ignore_errors=True)
    return finish(setting.folder, record)


def _encoder(value: str | Mapping[str, Any]) -> tuple[str, Any]:
    """Name and options of an encoder that can be masked. Raises ConfigError."""
    given = {"name": value} if isinstance(value, str) else dict(value)
    name = given.pop("name", "molebert")
    options = parse_options(ENCODERS[name].Options, given, where=f"encoder {name!r}")
    check_maskable(name, ENCODERS[name].featuriser(options))
    if getattr(options, "weights", RANDOM) != RANDOM or getattr(options, "freeze", "none") != "none":
        what = "pretraining starts from random weights: what other weights have seen was not excluded"
        raise ConfigError(what, where=f"encoder {name!r}", remedy=f"leave out weights (or {RANDOM}) and freeze")
    return name, options


def drawn_molecules(
    lists: Sequence[MoleculeList], held_out: HeldOut, setting: Setting, share: float, progress: Progress
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """(train, val) of identifier and smiles, and what is recorded of them; kept in the folder once made."""
    everything = join(lists, setting.limit, setting.seed)
    path, record = setting.folder / USED, setting.folder / RECORD
    if path.exists() and record.exists():
        earlier = json.loads(record.read_text(encoding="utf-8"))
        counts = {key: earlier[key] for key in ("molecules", "excluded")}
        used = pl.read_parquet(path).join(everything, on="inchikey14", how="left", maintain_order="left")
    else:
        progress(f"{everything.height:,} molecules; leaving out what is held out, and what is near to it")
        kept, excluded = exclude(everything, held_out, setting.near, processes=setting.processes, progress=progress)
        if kept.height < 2:
            remedy = "give a longer list, or a higher --near"
            raise DataError(f"only {kept.height} molecule is left to learn from and to judge by", remedy=remedy)
        judges = max(1, round(share * kept.height))
        drawn = np.random.default_rng(setting.seed).permutation(kept.height) < judges
        used = kept.with_columns(validation=pl.Series(drawn))
        write_parquet(path, used.select("inchikey14", "validation"))
        taking = {"available": everything.height, "used": kept.height, "validation": judges, "hash": used_hash(kept)}
        counts = {"molecules": taking, "excluded": excluded}
        out = ", ".join(f"{excluded[key]:,} {key}" for key in ("exact", "tautomer", "near"))
        progress(f"excluded: {out}; {kept.height:,} molecules take part")
    rows = used.select("validation", "smiles", identifier="inchikey14")
    return rows.filter(~pl.col("validation")), rows.filter("validation"), counts


def told(report: FitReport, molecules: int) -> dict[str, Any]:
    """What is kept of a stage's report, with its speed in molecules a second (validation included)."""
    seconds = [epoch.seconds for epoch in report.history]
    speed = molecules / float(np.median(seconds)) if seconds and np.median(seconds) > 0 else None
    return {**report.to_json(), "molecules_per_second": None if speed is None else round(speed, 1)}


def _export(masked: MaskedAtoms, folder: Path) -> None:
    """The encoder's weights and options, the weights last and in one step."""
    write_json(folder / "options.json", {"encoder": masked.described()["encoder"]})
    temporary = folder / f".{WEIGHTS}.tmp{os.getpid()}"
    torch.save({k: v.detach().cpu() for k, v in masked.network.encoder.state_dict().items()}, temporary)
    os.replace(temporary, folder / WEIGHTS)
