"""The value object: frozen, checked, and at home in matchms where that is installed."""

from __future__ import annotations

import pickle
import sys
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import numpy as np
import pytest

from mslitmus.errors import MissingExtraError, SchemaError
from mslitmus.spectra.spectrum import Spectrum


def test_peaks_are_sorted_copied_and_frozen() -> None:
    given = np.array([60.0, 50.0])
    spectrum = Spectrum.from_peaks("a", given, [1.0, 0.5], precursor_mz=100.5)
    given[0] = 1.0
    assert spectrum.mzs.tolist() == [50.0, 60.0]
    assert spectrum.intensities.tolist() == [0.5, 1.0]
    assert spectrum.precursor_mz == 100.5
    assert len(spectrum) == 2
    with pytest.raises(ValueError, match="read-only"):
        spectrum.mzs[0] = 3.0
    with pytest.raises(FrozenInstanceError):
        spectrum.identifier = "b"  # type: ignore[misc]
    with pytest.raises(TypeError):
        spectrum.metadata["name"] = "x"  # type: ignore[index]


def test_equality_hash_and_pickle() -> None:
    spectrum = Spectrum.from_peaks("a", [50.0], [1.0], name="x")
    same = pickle.loads(pickle.dumps(spectrum))
    assert same == spectrum
    assert hash(same) == hash(spectrum)
    assert spectrum != Spectrum.from_peaks("a", [50.0], [0.9], name="x")
    assert spectrum != "a"


@pytest.mark.parametrize(
    ("mzs", "intensities", "says"),
    [([50.0], [1.0, 2.0], "shape"), ([[50.0]], [[1.0]], "shape"), ([np.nan], [1.0], "finite"),
     ([0.0], [1.0], "positive"), ([50.0], [-1.0], "not negative"), ([60.0, 50.0], [1.0, 1.0], "not ascending")],
)  # fmt: skip
def test_unsound_peaks_are_refused(mzs: list[float], intensities: list[float], says: str) -> None:
    with pytest.raises(SchemaError, match=says) as caught:
        Spectrum("x", np.array(mzs), np.array(intensities))
    assert caught.value.where == "spectrum 'x'"


def test_from_row() -> None:
    row = {"identifier": "a", "mzs": [50.0], "intensities": [1.0], "adduct": "[M+H]+", "precursor_mz": None}
    spectrum = Spectrum.from_row(row)
    assert spectrum.metadata["adduct"] == "[M+H]+"
    assert spectrum.precursor_mz is None


def test_without_matchms_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matchms", None)
    with pytest.raises(MissingExtraError) as caught:
        Spectrum.from_peaks("a", [50.0], [1.0]).to_matchms()
    assert caught.value.remedy == "pip install 'mslitmus[matchms]'"


def test_matchms_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with matchms's constructor and attributes (0.28 and later)."""

    class Other:
        def __init__(self, mz: np.ndarray, intensities: np.ndarray, metadata: dict[str, object]) -> None:
            self.peaks, self.metadata = SimpleNamespace(mz=mz, intensities=intensities), metadata

    monkeypatch.setitem(sys.modules, "matchms", SimpleNamespace(Spectrum=Other))
    spectrum = Spectrum.from_peaks("a", [50.0, 60.0], [1.0, 0.5], precursor_mz=100.5, name=None)
    back = Spectrum.from_matchms(spectrum.to_matchms())
    assert back.identifier == "a"
    assert dict(back.metadata) == {"precursor_mz": 100.5}
    assert back.mzs.tolist() == [50.0, 60.0]
