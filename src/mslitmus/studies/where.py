"""Conditions on records, as a study writes them: of a row's training (`train_on`), of what a split asks (`test_on`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
from pydantic import Field, field_validator, model_validator

from ..chem.classes import RULES_HASH, check_classes
from ..data.laboratory import LABORATORY, laboratory
from ..data.splits.labels import ELECTRONVOLT_KINDS, in_classes
from ..errors import MslitmusError
from ..schemas import INSTRUMENT_TYPES, ION_MODES
from .strict import Strict, refuse_unknown

_NAMED_VALUES = {"ion_modes": ION_MODES, "instrument_types": INSTRUMENT_TYPES}


class Where(Strict):
    """Records that meet all conditions given. A record that lacks what is asked about does not meet it.

    Attributes:
        laboratories: contributors; one that is part of a laboratory stands for it (`data.laboratory`).
        min_energy, max_energy: collision energy in eV, both included. Energies that are not in eV (unitless, resonant
            CID in percent) meet neither.
        classes: compound classes (`chem.classes`), in any of which the molecule is.
    """

    adducts: list[str] | None = Field(default=None, min_length=1)
    ion_modes: list[str] | None = Field(default=None, min_length=1)
    instrument_types: list[str] | None = Field(default=None, min_length=1)
    laboratories: list[str] | None = Field(default=None, min_length=1)
    min_energy: float | None = Field(default=None, ge=0)
    max_energy: float | None = Field(default=None, ge=0)
    classes: list[str] | None = Field(default=None, min_length=1)

    @field_validator(*_NAMED_VALUES)
    @classmethod
    def _known(cls, value: list[str] | None, info: Any) -> list[str] | None:
        refuse_unknown(info.field_name, value, _NAMED_VALUES[info.field_name])
        return value

    @field_validator("classes")
    @classmethod
    def _classes(cls, value: list[str] | None) -> list[str] | None:
        return known_classes(value)

    @model_validator(mode="after")
    def _some(self) -> Where:
        if not self.conditions():
            raise ValueError(f"no condition\n  → give one of {', '.join(type(self).model_fields)}")
        if self.min_energy is not None and self.max_energy is not None and self.min_energy > self.max_energy:
            raise ValueError(f"min_energy {self.min_energy:g} eV is above max_energy {self.max_energy:g} eV")
        return self

    def conditions(self) -> dict[str, Callable[[pl.DataFrame], pl.Series]]:
        """Name of each condition given → which rows meet it."""
        energy = pl.when(pl.col("collision_energy_kind").is_in(ELECTRONVOLT_KINDS)).then(pl.col("collision_energy"))
        tests: dict[str, pl.Expr] = {}
        for name, column in (("adducts", "adduct"), ("ion_modes", "ion_mode"), ("instrument_types", "instrument_type")):
            if (values := getattr(self, name)) is not None:
                tests[name] = pl.col(column).is_in(values)
        if self.laboratories is not None:
            tests["laboratories"] = laboratory().is_in(self._laboratories())
        if self.min_energy is not None:
            tests["min_energy"] = energy >= self.min_energy
        if self.max_energy is not None:
            tests["max_energy"] = energy <= self.max_energy
        found: dict[str, Callable[[pl.DataFrame], pl.Series]] = {
            name: lambda frame, test=test: frame.select(test.fill_null(False)).to_series()  # type: ignore[misc]
            for name, test in tests.items()
        }
        if (classes := self.classes) is not None:
            found["classes"] = lambda frame: in_classes(frame, classes).fill_null(False)
        return found

    def _laboratories(self) -> list[str]:
        return [LABORATORY.get(name, name) for name in self.laboratories or ()]

    def keep(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows that meet all conditions, in their order."""
        for test in self.conditions().values():
            frame = frame.filter(test(frame))
        return frame

    def identity(self) -> dict[str, Any]:
        """What decides which rows are kept: the conditions given, and the rules of classes where they count."""
        rules: dict[str, Any] = {} if self.classes is None else {"class_rules": RULES_HASH}
        if self.laboratories is not None:  # which contributors these names stand for
            rules["contributors"] = sorted(name for name, of in LABORATORY.items() if of in self._laboratories())
        return {**self.model_dump(mode="json", exclude_none=True), **rules}


def known_classes(value: list[str] | None) -> list[str] | None:
    """The same names. Raises ValueError, as pydantic wants it, for one that is no compound class."""
    try:
        check_classes(value or ())
    except MslitmusError as error:
        raise ValueError(str(error)) from error
    return value
