"""A pretraining from spectra to weights, in one folder:

- `pretraining.json`   what was asked, which molecules were left out and why, how it went;
- `molecules.parquet`  InChIKey-14 of every molecule that took part (`validation`: judged by, not learned from);
- `embedder.json`, `vocabulary.json`, `weights.pt`  the transformer, as `pretrained: <folder>` wants it;
- `checkpoints/`       of the training.

No label is learned, and all the same no held-out molecule is seen, nor one near to it: an embedder knows the spectra
that it was trained on. Spectra without a structure cannot be checked and are left out. A killed run continues.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from ...data.candidates.lists import dataset_list
from ...data.simulate import opened
from ...errors import ConfigError, DataError
from ...models.embed.embedder import Design, DesignOptions
from ...models.options import parse_options
from ...provenance import table_hash, write_parquet
from ...schemas import SPECTRA
from ...search.queries import read
from .. import fit
from .folder import RECORD, USED, Progress, Setting, alone_in, asked_of, begin, claim, finish
from .masked_peaks import MaskedPeaks, PeakMasking, PeakTraining
from .molecules import HeldOut, exclude, used_hash
from .stage import accuracy


class PeakPretrainOptions(DesignOptions):
    """What is trained and how: the keys of a `--config` file."""

    masking: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    validation: float = Field(0.05, gt=0, lt=1, description="share of the molecules that judges the epochs")


def open_spectra(
    sources: Sequence[str], every_column: bool = False, progress: Progress = lambda line: None
) -> pl.DataFrame:
    """Spectra of stored datasets, `simulated`, and files of any format.

    A spectrum that several sources hold is taken once; others that happen to share its identifier stay, under
    `identifier#2`, …; `progress` is told of both. Raises ConfigError where no source is named.
    """
    if not sources:
        raise ConfigError("no spectra to learn from", where="--spectra", remedy="name stored datasets or files")
    frames = []
    for source in sources:
        if Path(source).exists():
            frames += list(read([Path(source)]))
        else:
            frames.append(opened(source).frame())
    wanted = ("identifier", "mzs", "intensities", "precursor_mz", "adduct", "charge", "ion_mode", "instrument_type",
              "collision_energy", "collision_energy_kind", "smiles", "inchikey14")  # fmt: skip
    columns = list(SPECTRA) if every_column else wanted
    return apart(pl.concat([frame.select(columns) for frame in frames], how="vertical_relaxed"), progress)


def apart(joined: pl.DataFrame, progress: Progress) -> pl.DataFrame:
    """Rows of unique identifiers: see `open_spectra`. Raises DataError where `identifier#2` is taken too."""
    twice = joined["identifier"].is_duplicated()
    if not twice.any():
        return joined
    numbers = [pl.col(n).cast(pl.List(pl.String)).list.join(" ").alias(n) for n in ("mzs", "intensities")]
    seen = joined.filter(twice).select("identifier", "precursor_mz", "inchikey14", *numbers)
    again = pl.Series(np.zeros(joined.height, bool)).scatter(
        np.flatnonzero(twice.to_numpy()), ~seen.select(pl.struct(pl.all()).is_first_distinct()).to_series()
    )
    rows = joined.filter(~again)
    number = pl.int_range(1, pl.len() + 1).over("identifier")
    named = pl.when(number > 1).then(pl.format("{}#{}", "identifier", number)).otherwise("identifier")
    kept = rows.with_columns(identifier=named)
    if again.any():
        progress(f"{int(again.sum()):,} spectra are in several sources: taken once")
    if renamed := int((kept["identifier"] != rows["identifier"]).sum()):
        progress(f"{renamed:,} other spectra share an identifier: they are called IDENTIFIER#2, …")
    if kept["identifier"].is_duplicated().any():
        name = kept.filter(kept["identifier"].is_duplicated())["identifier"][0]
        raise DataError(f"two spectra are called {name!r}", where="spectra", remedy="rename one of them")
    return kept


def pretrain_peaks(
    spectra: pl.DataFrame,
    held_out: HeldOut,
    options: Mapping[str, Any],
    setting: Setting,
    progress: Progress = print,
) -> dict[str, Any]:
    """Leave out, train, export; returns the record that it wrote.

    Raises ConfigError for options, RunError where the folder holds another pretraining or one is at work in it,
    DataError where no spectrum is left. After Ctrl-C or a kill the same call goes on from the last epoch.
    """
    with alone_in(setting, ("embedder.json", "vocabulary.json"), ("checkpoints",)):
        return _pretrain(spectra, held_out, options, setting, progress)


def _pretrain(
    spectra: pl.DataFrame, held_out: HeldOut, options: Mapping[str, Any], setting: Setting, progress: Progress
) -> dict[str, Any]:
    chosen = parse_options(PeakPretrainOptions, options, where="pretraining")
    design = Design.of(chosen)
    if design.name != "transformer":
        raise ConfigError(f"network {design.name!r} has no peaks to mask", where="pretraining", remedy="transformer")
    masking = parse_options(PeakMasking, chosen.masking, where="masking")
    model = MaskedPeaks(design, masking, parse_options(PeakTraining, chosen.training, where="training"))
    seen = table_hash(spectra.select("identifier", "inchikey14", "precursor_mz", "mzs", "intensities"))
    given = {"options": {**model.described(), "validation": chosen.validation}, "spectra": seen}
    asked = asked_of("masked-peaks", setting, held_out, **given)
    if done := claim(setting.folder, asked, progress):
        return done
    train, val, told = _taking_part(spectra, held_out, setting, chosen.validation, progress)
    record = begin(setting.folder, asked, {**told, "training": None})
    report = fit(model, train, val, setting.context(setting.folder, accuracy, progress))
    seconds = [epoch.seconds for epoch in report.history]
    speed = round(train.height / float(np.median(seconds)), 1) if seconds and np.median(seconds) > 0 else None
    record["training"] = {**report.to_json(), "spectra_per_second": speed, "commonest_bin": model.commonest(val)}
    model.embedder().save(setting.folder)
    return finish(setting.folder, record)


def _taking_part(
    spectra: pl.DataFrame, held_out: HeldOut, setting: Setting, share: float, progress: Progress
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """(train, val) of spectra, split by molecule, and what is recorded; the molecules kept in the folder once drawn."""
    usable = spectra.filter(
        pl.all_horizontal(pl.col(c).is_not_null() for c in ("inchikey14", "smiles", "precursor_mz"))
        & (pl.col("mzs").list.len() > 1)
    )
    path, record = setting.folder / USED, setting.folder / RECORD
    if path.exists() and record.exists():
        earlier = json.loads(record.read_text(encoding="utf-8"))
        used, told = pl.read_parquet(path), {key: earlier[key] for key in ("spectra", "molecules", "excluded")}
    else:
        everything = dataset_list(usable, processes=setting.processes).frame
        progress(f"{everything.height:,} molecules; leaving out what is held out, and what is near to it")
        kept, excluded = exclude(everything, held_out, setting.near, processes=setting.processes, progress=progress)
        kept = kept.sort("inchikey14")
        rng = np.random.default_rng(setting.seed)
        if setting.limit is not None and kept.height > setting.limit:
            kept = kept[np.sort(rng.choice(kept.height, setting.limit, replace=False))]
        if kept.height < 2:
            what = f"only {kept.height} molecule is left to learn from and to judge by"
            raise DataError(what, remedy="give more spectra, or a higher --near")
        judges = max(1, round(share * kept.height))
        drawn = rng.permutation(kept.height) < judges
        used = kept.select("inchikey14").with_columns(validation=pl.Series(drawn))
        write_parquet(path, used)
        counts = {"available": everything.height, "used": kept.height, "validation": judges, "hash": used_hash(kept)}
        told = {
            "spectra": {"given": spectra.height, "without_structure_or_peaks": spectra.height - usable.height},
            "molecules": counts,
            "excluded": excluded,
        }
        out = ", ".join(f"{excluded[key]:,} {key}" for key in ("exact", "tautomer", "near"))
        progress(f"excluded molecules: {out}; {kept.height:,} take part")
    rows = usable.join(used, on="inchikey14", how="inner", maintain_order="left")
    train, val = rows.filter(~pl.col("validation")), rows.filter("validation")
    told["spectra"]["used"] = train.height
    progress(f"{train.height:,} spectra to learn from, {val.height:,} to judge by")
    return train, val, told
