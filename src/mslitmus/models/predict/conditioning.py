"""Conditioning: how the spectrum was measured, as one vector a spectrum. A missing value is a learned state.

Five conditions, each of which can be left out (`conditioning: [adduct, energy]`):

- `adduct`: an embedding for each adduct of the training fold; unseen and missing ones share the state "unknown";
- `instrument`: an embedding for each instrument type of the schema, or "unknown";
- `energy`: collision energy E in eV as E/50, log(1 + E)/4 and E·500/precursor/100 (the normalised energy), in slots of
  their own for each unit (eV-like, resonant %, unitless), beside an embedding of its kind; a missing number leaves the
  slots empty and takes the kind "unknown";
- `precursor_mz`: m/z/500 and log(m/z)/6;
- `ion_mode`: an embedding for each, or "unknown": says the least where the adduct is known, so not among the defaults.

In training each condition of a spectrum is hidden with probability `mask`, each by its own throw, so that "unknown" is
learned even where the training fold knows everything. What is hidden looks exactly as what is missing.

The vector joins the molecule in one of two ways: `concat` puts it beside the graph vector, `film` (Perez et al.,
"FiLM: visual reasoning with a general conditioning layer", AAAI 2018) lets it scale and shift the trunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ...errors import unknown_name
from ...schemas import ENERGY_KINDS, INSTRUMENT_TYPES, ION_MODES
from ...spectra.flat import precursors
from ..options import Options

Condition = Literal["adduct", "instrument", "energy", "precursor_mz", "ion_mode"]
CONDITIONS: tuple[Condition, ...] = ("adduct", "instrument", "energy", "precursor_mz")
_ALL: tuple[Condition, ...] = (*CONDITIONS, "ion_mode")
_UNITS = {"resonant-%": 1, "unitless": 2}  # slot 0: everything that is in eV
_SLOTS = 3


class ConditioningOptions(Options):
    """Options of the conditioning."""

    width: int = Field(32, ge=1, le=1024, description="of each condition's vector")
    mask: float = Field(0.05, ge=0, lt=1, description="probability of hiding a condition in training")


class JoinedOptions(ConditioningOptions):
    """Options of a conditioning that joins a molecule."""

    how: Literal["concat", "film"] = Field("concat", description="beside the graph vector, or as scale and shift")


def check_conditions(names: Sequence[str]) -> tuple[Condition, ...]:
    """The same names. Raises ConfigError for one that is no condition."""
    for name in names:
        if name not in _ALL:
            raise unknown_name("condition", name, _ALL)
    return cast("tuple[Condition, ...]", tuple(names))


@dataclass(frozen=True)
class ConditionVocabulary:
    """Which adducts the training fold has. Code 0 is "unknown" in every vocabulary."""

    adducts: tuple[str, ...]

    @classmethod
    def of(cls, train: pl.DataFrame, minimum: int = 10) -> ConditionVocabulary:
        """Adducts with at least `minimum` training spectra, the most frequent if none has."""
        counts = train["adduct"].drop_nulls().value_counts().sort(["count", "adduct"], descending=[True, False])
        frequent = counts.filter(pl.col("count") >= minimum)
        return cls(tuple(sorted((frequent if frequent.height else counts.head(1))["adduct"].to_list())))

    def encode(self, frame: pl.DataFrame) -> dict[str, NDArray[Any]]:
        """Arrays of all conditions: adduct, instrument, ion_mode, energy_kind (n,) codes; energy (n, 9);
        precursor_mz (n, 2)."""
        return {
            "adduct": _codes(frame["adduct"], self.adducts),
            "instrument": _codes(frame["instrument_type"], INSTRUMENT_TYPES),
            "energy_kind": _kinds(frame),
            "energy": _energies(frame),
            "ion_mode": _codes(frame["ion_mode"], ION_MODES),
            "precursor_mz": _masses(_precursors(frame)),
        }


def _codes(values: pl.Series, known: Sequence[str]) -> NDArray[np.int64]:
    codes = values.replace_strict(list(known), list(range(1, len(known) + 1)), default=0, return_dtype=pl.Int64)
    return codes.fill_null(0).to_numpy().astype(np.int64)


def _kinds(frame: pl.DataFrame) -> NDArray[np.int64]:
    codes = _codes(frame["collision_energy_kind"], ENERGY_KINDS)
    return np.where(frame["collision_energy"].is_null().to_numpy(), 0, codes)


def _energies(frame: pl.DataFrame) -> NDArray[np.float32]:
    value = frame["collision_energy"].cast(pl.Float64).fill_null(0.0).to_numpy()
    value = np.clip(np.nan_to_num(value), 0.0, 1000.0)
    mass = np.clip(_precursors(frame), 1.0, None)
    columns = np.stack([value / 50.0, np.log1p(value) / 4.0, np.minimum(value * 500.0 / mass / 100.0, 10.0)], axis=1)
    unit = frame["collision_energy_kind"].replace_strict(_UNITS, default=0, return_dtype=pl.Int64)
    slots = np.zeros((frame.height, _SLOTS, columns.shape[1]), np.float32)
    slots[np.arange(frame.height), unit.fill_null(0).to_numpy()] = columns
    return slots.reshape(frame.height, _SLOTS * columns.shape[1])


def _precursors(frame: pl.DataFrame) -> NDArray[np.float64]:
    """Da, 0 where unknown: a NaN would spread over the whole prediction."""
    known: NDArray[np.float64] = np.nan_to_num(precursors(frame))
    return known


def _masses(mzs: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.stack([mzs / 500.0, np.log(np.clip(mzs, 1.0, None)) / 6.0], axis=1).astype(np.float32)


class Conditioning(nn.Module):
    """Encoded conditions → (spectra, width). With no condition chosen the vector is empty."""

    def __init__(
        self, chosen: Sequence[Condition], options: ConditioningOptions, vocabulary: ConditionVocabulary
    ) -> None:
        super().__init__()
        self.chosen, self.mask, size = tuple(chosen), options.mask, options.width
        self.width = size * len(self.chosen)
        parts: dict[str, nn.Module] = {}
        if "adduct" in chosen:
            parts["adduct"] = nn.Embedding(len(vocabulary.adducts) + 1, size)
        if "instrument" in chosen:
            parts["instrument"] = nn.Embedding(len(INSTRUMENT_TYPES) + 1, size)
        if "ion_mode" in chosen:
            parts["ion_mode"] = nn.Embedding(len(ION_MODES) + 1, size)
        if "energy" in chosen:
            parts["energy_kind"] = nn.Embedding(len(ENERGY_KINDS) + 1, size)
            parts["energy"] = nn.Sequential(nn.Linear(3 * _SLOTS, 64), nn.ReLU(), nn.Linear(64, size, bias=False))
        if "precursor_mz" in chosen:
            parts["precursor_mz"] = nn.Linear(2, size)
            parts["no_precursor_mz"] = nn.Embedding(1, size)
        self.parts = nn.ModuleDict(parts)

    def forward(self, conditions: Mapping[str, Tensor], spectra: int) -> Tensor:
        """conditions: as `ConditionVocabulary.encode` gives them → (spectra, width)."""
        columns = [self._one(name, conditions, spectra) for name in self.chosen]
        device = next(iter(conditions.values())).device
        return torch.cat(columns, dim=1) if columns else torch.zeros(spectra, 0, device=device)

    def _one(self, name: Condition, conditions: Mapping[str, Tensor], spectra: int) -> Tensor:
        device = conditions["adduct"].device
        shown = torch.ones(spectra, dtype=torch.long, device=device)
        if self.training and self.mask:
            shown = (torch.rand(spectra, device=device) >= self.mask).long()
        if name == "energy":
            kind = self.parts["energy_kind"](conditions["energy_kind"] * shown)
            values: Tensor = self.parts["energy"](conditions["energy"] * shown.unsqueeze(1))
            return kind + values
        if name == "precursor_mz":
            known = self.parts["precursor_mz"](conditions["precursor_mz"])
            hidden: Tensor = self.parts["no_precursor_mz"](torch.zeros_like(shown))
            return torch.where(shown.unsqueeze(1).bool(), known, hidden)
        embedded: Tensor = self.parts[name](conditions[name] * shown)
        return embedded


class FiLM(nn.Module):
    """x · (1 + γ(c)) + β(c), γ and β linear in the condition vector c and 0 at first (Perez et al. 2018, eq. 2)."""

    def __init__(self, width: int, conditions: int) -> None:
        super().__init__()
        self.linear = nn.Linear(conditions, 2 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """x: (spectra, width), conditions: (spectra, conditions) → (spectra, width)."""
        scale, shift = self.linear(conditions).chunk(2, dim=1)
        out: Tensor = x * (1 + scale) + shift
        return out


class FiLMTrunk(nn.Module):
    """Residual blocks whose every normalisation is followed by a FiLM of its own, the last one's included.

    The counterpart of `layers.ResidualBlock` stacked: each block is x + W₂ dropout(relu(W₁ film(norm(x), c))).
    """

    def __init__(self, width: int, layers: int, dropout: float, conditions: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers + 1))
        self.films = nn.ModuleList(FiLM(width, conditions) for _ in range(layers + 1))
        self.inner = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
            for _ in range(layers)
        )

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """x: (spectra, width), conditions: (spectra, conditions) → (spectra, width)."""
        for norm, film, inner in zip(self.norms, self.films, self.inner, strict=False):
            x = x + inner(film(norm(x), conditions))
        out: Tensor = self.films[-1](self.norms[-1](x), conditions)
        return out
