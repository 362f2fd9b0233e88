"""What a study holds out: the molecules that pretraining must not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from ..provenance import table_hash
from ..train.pretrain.molecules import HeldOut
from .config import StudyConfig
from .selection import select
from .stage import dataset_of, made


def held_out(studies: Sequence[StudyConfig]) -> HeldOut:
    """Val and test molecules of every split of these studies, which select the same records of one dataset.

    The record names the dataset, the hash of the selected records, and each split with the hash of its folds.
    """
    parts, splits = [], []
    for study in studies:
        frame, _ = select(dataset_of(study), study.data, study.build_task())
        data_hash = table_hash(frame)
        for config in study.splits:
            split, _ = made(config, frame, data_hash)
            folds = split.apply(frame)
            unseen = [folds[fold].select("inchikey14", "smiles").drop_nulls("inchikey14") for fold in ("val", "test")]
            parts += unseen
            splits.append(_record(config.model_dump(mode="json"), table_hash(split.folds), unseen))
    molecules = pl.concat(parts).unique(maintain_order=True)
    data = studies[0].data.model_dump(mode="json", exclude_defaults=True)
    return HeldOut(molecules, {"dataset": studies[0].data.name, "data": data, "data_hash": data_hash, "splits": splits})


def _record(config: dict[str, Any], digest: str, unseen: list[pl.DataFrame]) -> dict[str, Any]:
    counts = {
        f"{fold}_molecules": part["inchikey14"].n_unique() for fold, part in zip(("val", "test"), unseen, strict=True)
    }
    return {**config, "hash": digest, **counts}
