"""What one row of a study trains on: part of the training fold, or a spoilt copy of it. Val and test stay as they are.

The four steps act in this order, each on what the one before leaves:

1. `where`: records that meet conditions of measurement;
2. `without_classes`: no molecule of these compound classes (nor any that is of another class too);
3. `fraction`: so much of the molecules, by a hash of InChIKey-14 and the cell's seed: 25 % lie within 50 %;
4. `label_noise`: so much of the spectra get the structure of another molecule.

Label noise is that of a wrong library hit: right mass, wrong molecule. The spectra are drawn by a hash of identifier
and seed (so 10 % lie within 20 %); those of one adduct, in the order of their precursor m/z, exchange structures in
pairs of neighbours of different molecules. What was measured stays with the spectrum (peaks, precursor m/z, adduct,
energy, instrument), what names the molecule moves (`LABELS`). No molecule gains or loses spectra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from ..chem.classes import RULES_HASH
from ..data.splits.allocate import draw
from ..data.splits.labels import in_classes
from ..errors import DataError
from .strict import Strict
from .where import Where, known_classes

#: Columns that say which molecule it is.
LABELS = ("smiles", "inchikey14", "formula", "name", "parent_mass", "precursor_formula")


class TrainOn(Strict):
    """Keys of a row's `train_on`; an empty one is the whole training fold."""

    fraction: float = Field(default=1.0, gt=0, le=1)
    label_noise: float = Field(default=0.0, ge=0, le=1)
    without_classes: list[str] = Field(default_factory=list)
    where: Where | None = None

    @field_validator("without_classes")
    @classmethod
    def _classes(cls, value: list[str]) -> list[str]:
        return known_classes(value) or []

    def identity(self) -> dict[str, Any]:
        """What decides the training set: the keys that change it; empty where none does."""
        said = self.model_dump(mode="json", exclude_defaults=True)
        if self.where is not None:
            said["where"] = self.where.identity()
        return {**said, "class_rules": RULES_HASH} if self.without_classes else said

    def apply(self, train: pl.DataFrame, seed: int, name: str = "") -> tuple[pl.DataFrame, dict[str, Any]]:
        """(what the row trains on, a record of counts). Raises DataError where nothing is left.

        Args:
            train: the training fold, schema SPECTRA.
            seed: the cell's.
            name: of the row, for the message.
        """
        counts: dict[str, Any] = {"fold": _size(train)}
        for key, test in (self.where.conditions() if self.where else {}).items():
            train = train.filter(test(train))
            counts[f"where.{key}"] = _size(train)
        if self.without_classes:
            inside = in_classes(train, self.without_classes)
            train = train.filter(~inside.fill_null(True))
            counts["without_classes"] = _size(train)
        if self.fraction < 1:
            train = _part(train, self.fraction, seed)
            counts["fraction"] = _size(train)
        if train.is_empty():
            emptied = next(key for key, size in counts.items() if not size["spectra"])
            raise DataError(
                f"model {name!r}: nothing of the training fold is left to train on after {emptied}",
                where="train_on",
                remedy="widen train_on, or use a split whose training fold has such records",
            )
        if self.label_noise:
            train, counts["label_noise"] = _mislabelled(train, self.label_noise, seed)
        return train, counts


def _size(frame: pl.DataFrame) -> dict[str, int]:
    return {"spectra": frame.height, "molecules": frame["inchikey14"].drop_nulls().n_unique()}


def _part(train: pl.DataFrame, fraction: float, seed: int) -> pl.DataFrame:
    """That share of the molecules, at least one. Spectra without a structure stay out."""
    molecules = draw(train["inchikey14"].drop_nulls(), seed)
    chosen = molecules[: max(1, round(fraction * len(molecules)))]
    return train.filter(pl.col("inchikey14").is_in(chosen))


def _mislabelled(train: pl.DataFrame, share: float, seed: int) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The same rows with labels exchanged, and how many were and how far apart in precursor m/z (Da) the pairs are."""
    rows = train.select("identifier", "inchikey14", "adduct", "precursor_mz").with_row_index("row")
    named = rows.drop_nulls("inchikey14")
    drawn = draw(named["identifier"], seed)[: round(share * named.height)]
    lots = named.filter(pl.col("identifier").is_in(drawn)).sort("adduct", "precursor_mz", "identifier")
    pairs = []
    for (_,), group in lots.group_by("adduct", maintain_order=True):
        pairs += _pairs(group["row"].to_list(), group["inchikey14"].to_list())
    left, right = np.asarray(pairs, np.int64).reshape(-1, 2).T
    source = np.arange(train.height)
    source[left], source[right] = right, left
    labels = [column for column in LABELS if column in train.columns]
    moved = train.select(labels)[source]
    apart = np.abs(train["precursor_mz"].to_numpy()[left] - train["precursor_mz"].to_numpy()[right])
    record: dict[str, Any] = {"drawn": len(drawn), "spectra": 2 * len(pairs)}
    if len(pairs):
        record |= {"median_da": round(float(np.median(apart)), 4), "q95_da": round(float(np.quantile(apart, 0.95)), 4)}
    return train.with_columns(moved.get_columns()), record


def _pairs(rows: Sequence[int], molecules: Sequence[str]) -> list[tuple[int, int]]:
    """Neighbours of different molecules. Waiting rows are all of one molecule: the next other one takes the last."""
    waiting: list[int] = []
    found = []
    for k, molecule in enumerate(molecules):
        if waiting and molecules[waiting[-1]] != molecule:
            found.append((rows[waiting.pop()], rows[k]))
        else:
            waiting.append(k)
    return found
