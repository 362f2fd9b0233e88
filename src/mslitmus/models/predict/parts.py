"""What an encoder and a head owe each other, and the check that refuses pairs that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ConfigError
from .. import ENCODERS, HEADS
from .features import Featuriser, Ragged

#: `graph`: one vector a molecule; `atoms`: one state an atom.
Provides = Literal["graph", "atoms"]


@dataclass(frozen=True)
class Encoded:
    """Molecules of a batch, encoded.

    Attributes:
        graph: (molecules, width), or None.
        atoms: (atoms of all molecules, atom width), or None.
        owner: (atoms,) the molecule of each atom, or None.
    """

    graph: Tensor | None
    atoms: Tensor | None = None
    owner: Tensor | None = None


@dataclass(frozen=True)
class FlatPeaks:
    """Peaks of n spectra as flat arrays.

    Attributes:
        mzs: (peaks,) Da, ascending within a spectrum.
        intensities: (peaks,) base peak 1.
        offsets: (n + 1,) spectrum i owns peaks offsets[i] … offsets[i + 1].
        precursor_mz: (n,) Da.
        molecule: (n,) number of each spectrum's molecule.
        smiles: of the distinct molecules, by number.
        ions: what the adducts say, as `ions.describe` gives it.
        features: the head's own features of the distinct molecules; None for a head that looks at no molecule.
    """

    mzs: NDArray[np.float64]
    intensities: NDArray[np.float32]
    offsets: NDArray[np.int64]
    precursor_mz: NDArray[np.float64]
    molecule: NDArray[np.int64]
    smiles: tuple[str, ...] = ()
    ions: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    features: Ragged | None = None

    @property
    def owner(self) -> NDArray[np.int64]:
        """(peaks,) the spectrum of each peak."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


@dataclass(frozen=True)
class Batch:
    """Spectra to predict, each molecule once.

    Attributes:
        molecules: the encoder's features of the distinct molecules.
        index: (spectra,) the molecule of each spectrum.
        conditions: named condition arrays, (spectra, …).
        precursor_mz: (spectra,) Da, float64.
        ions: what the adducts say, as `ions.describe` gives it, (spectra,) each.
        parts: the head's own features of the distinct molecules; empty for a head that looks at no molecule.
        targets: the head's own target tensors; empty in prediction.
    """

    molecules: Mapping[str, Tensor]
    index: Tensor
    conditions: Mapping[str, Tensor]
    precursor_mz: Tensor
    ions: Mapping[str, Tensor]
    parts: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]

    @property
    def size(self) -> int:
        return len(self.index)


class Encoder(Protocol):
    """A torch module: features of molecules → Encoded."""

    provides: ClassVar[frozenset[Provides]]
    Options: ClassVar[type[Any]]
    width: int  # of the graph vector; 0 if it gives none

    @classmethod
    def featuriser(cls, options: Any) -> Featuriser: ...

    def __call__(self, molecules: Mapping[str, Tensor]) -> Encoded: ...


class Head(Protocol):
    """A torch module: hidden vectors of spectra (+ encoded molecules) → peaks. Output m/z are the head's own affair."""

    needs: ClassVar[frozenset[Provides]]
    Options: ClassVar[type[Any]]

    @classmethod
    def featuriser(cls, options: Any) -> Featuriser | None:
        """What the head itself wants to see of a molecule (its fragments, its formula), or nothing."""
        ...

    @classmethod
    def vocabulary(cls, options: Any, peaks: FlatPeaks) -> dict[str, NDArray[Any]]:
        """What the head fixes on the training peaks (e.g. which bins exist), as arrays that are saved with it."""
        ...

    def targets(self, peaks: FlatPeaks) -> TargetTable: ...

    def __call__(self, hidden: Tensor, encoded: Encoded, batch: Batch) -> Tensor: ...

    def loss(self, output: Tensor, batch: Batch) -> Tensor: ...

    def peaks(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(row of the batch, m/z in Da float64, intensity on the measured scale) of each predicted peak, any order."""
        ...


@dataclass(frozen=True)
class TargetTable:
    """Targets of all training spectra, flat: a batch gathers its rows.

    Attributes:
        columns: name → (entries,) arrays.
        offsets: (spectra + 1,).
    """

    columns: Mapping[str, NDArray[Any]]
    offsets: NDArray[np.int64]


def check_pair(encoder: str, head: str) -> None:
    """Refuse an encoder that lacks what the head needs. Raises ConfigError naming encoders that have it."""
    provides, needs = ENCODERS[encoder].provides, HEADS[head].needs
    if absent := sorted(needs - provides):
        fitting = [name for name in ENCODERS if needs <= ENCODERS[name].provides]
        raise ConfigError(
            f"head {head!r} needs {' and '.join(absent)}, which encoder {encoder!r} does not give",
            remedy=f"encoders that do: {', '.join(fitting) or 'none yet'}",
        )
