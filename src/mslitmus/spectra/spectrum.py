"""One spectrum as a frozen value object, to and from matchms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MissingExtraError, SchemaError

if TYPE_CHECKING:
    import matchms


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Peaks and what is known about them.

    Args:
        identifier: unique name.
        mzs: (n,) float64, Da, ascending and positive.
        intensities: (n,) float64, finite and not negative; relative or absolute.
        metadata: schema column → value, e.g. `{"precursor_mz": 195.0877, "adduct": "[M+H]+"}`.

    Raises:
        SchemaError: lengths differ, a value is not finite or negative, or the m/z are not ascending.
    """

    identifier: str
    mzs: NDArray[np.float64]
    intensities: NDArray[np.float64]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mzs, intensities = _frozen(self.mzs), _frozen(self.intensities)
        where = f"spectrum {self.identifier!r}"
        if mzs.ndim != 1 or mzs.shape != intensities.shape:
            what = f"m/z of shape {mzs.shape} and intensities of shape {intensities.shape}"
            raise SchemaError(what, where=where, remedy="give two one-dimensional arrays of equal length")
        if not (np.isfinite(mzs).all() and np.isfinite(intensities).all()):
            raise SchemaError("an m/z or intensity is not finite", where=where, remedy="remove the peak")
        if (mzs <= 0).any() or (intensities < 0).any():
            what = "m/z must be positive and intensities not negative"
            raise SchemaError(what, where=where, remedy="remove the peak")
        if (np.diff(mzs) < 0).any():
            raise SchemaError(
                "m/z are not ascending", where=where, remedy="build it with Spectrum.from_peaks, which sorts"
            )
        object.__setattr__(self, "mzs", mzs)
        object.__setattr__(self, "intensities", intensities)
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    @classmethod
    def from_peaks(cls, identifier: str, mzs: ArrayLike, intensities: ArrayLike, **metadata: Any) -> Spectrum:
        """Build from peaks in any order."""
        masses, heights = np.asarray(mzs, dtype=np.float64), np.asarray(intensities, dtype=np.float64)
        if masses.shape == heights.shape and masses.ndim == 1:
            order = np.argsort(masses, kind="stable")
            masses, heights = masses[order], heights[order]
        return cls(identifier, masses, heights, metadata)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Spectrum:
        """Build from a row of a schema frame (`frame.row(0, named=True)`)."""
        metadata = {name: value for name, value in row.items() if name not in ("identifier", "mzs", "intensities")}
        return cls.from_peaks(row["identifier"], row["mzs"], row["intensities"], **metadata)

    def __len__(self) -> int:
        return len(self.mzs)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Spectrum)
            and self.identifier == other.identifier
            and np.array_equal(self.mzs, other.mzs)
            and np.array_equal(self.intensities, other.intensities)
            and dict(self.metadata) == dict(other.metadata)
        )

    def __hash__(self) -> int:
        return hash((self.identifier, self.mzs.tobytes(), self.intensities.tobytes()))

    def __reduce__(self) -> tuple[object, ...]:
        return (Spectrum, (self.identifier, self.mzs, self.intensities, dict(self.metadata)))

    @property
    def precursor_mz(self) -> float | None:
        """Da, None where unknown."""
        value = self.metadata.get("precursor_mz")
        return None if value is None else float(value)

    def to_matchms(self) -> matchms.Spectrum:
        """A matchms Spectrum. The identifier becomes `spectrum_id`. Raises MissingExtraError without matchms."""
        known = {key: value for key, value in self.metadata.items() if value is not None}
        return _matchms().Spectrum(
            mz=np.array(self.mzs),
            intensities=np.array(self.intensities),
            metadata={**known, "spectrum_id": self.identifier},
        )

    @classmethod
    def from_matchms(cls, spectrum: matchms.Spectrum) -> Spectrum:
        """From a matchms Spectrum; its `spectrum_id` (else title, else name) is the identifier."""
        given = dict(spectrum.metadata)
        names = ("spectrum_id", "identifier", "title", "compound_name")
        identifier = next((str(given[name]) for name in names if given.get(name)), "spectrum")
        given.pop("spectrum_id", None)
        return cls.from_peaks(identifier, spectrum.peaks.mz, spectrum.peaks.intensities, **given)


def _frozen(values: ArrayLike) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


def _matchms() -> Any:
    try:
        import matchms
    except ImportError as error:
        raise MissingExtraError(
            "matchms is not installed", where="Spectrum.to_matchms", remedy="pip install 'mslitmus[matchms]'"
        ) from error
    return matchms
