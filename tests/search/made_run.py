"""A small LC-MS/MS run as mzML text, and a library of simulated spectra."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

Scan = dict[str, object]


def ms1(time: float, mzs: Sequence[float], intensities: Sequence[float]) -> Scan:
    return {"level": 1, "time": time, "mzs": mzs, "intensities": intensities}


def ms2(
    time: float, precursor: float | None, mzs: Sequence[float], intensities: Sequence[float], **more: object
) -> Scan:
    return {"level": 2, "time": time, "precursor": precursor, "mzs": mzs, "intensities": intensities}


def profile(mzs: Sequence[float], intensities: Sequence[float], width: float = 0.012) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian peaks of this full width at half height, sampled every sixth of it."""
    x = np.arange(min(mzs) - 1, max(mzs) + 1, width / 6)
    sigma = width / 2.355
    y = sum(h * np.exp(-0.5 * ((x - m) / sigma) ** 2) for m, h in zip(mzs, intensities, strict=True))
    keep = y > 1e-3 * max(intensities)
    return x[keep], y[keep]


def mzml(scans: Sequence[Scan], mode: str = "positive") -> str:
    polarity = "MS:1000130" if mode == "positive" else "MS:1000129"
    body = "".join(_spectrum(n, scan, polarity) for n, scan in enumerate(scans, 1))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<mzML xmlns="http://psi.hupo.org/ms/mzml" version="1.1.0">'
        f'<run id="r"><spectrumList count="{len(scans)}">{body}\n</spectrumList></run></mzML>\n'
    )


def _spectrum(number: int, scan: Scan, polarity: str) -> str:
    term = '<cvParam cvRef="MS" accession="{}" name="x" value="{}" {}/>'.format
    selected = "" if scan.get("precursor") is None else (
        '<precursorList count="1"><precursor><selectedIonList count="1"><selectedIon>'
        f'{term("MS:1000744", scan["precursor"], "")}'
        "</selectedIon></selectedIonList></precursor></precursorList>"
    )  # fmt: skip
    arrays = "".join(
        f"<binaryDataArray>{term('MS:1000523', '', '')}{term('MS:1000576', '', '')}{term(kind, '', '')}"
        f"<binary>{base64.b64encode(np.asarray(scan[name], '<f8').tobytes()).decode()}</binary></binaryDataArray>"
        for kind, name in (("MS:1000514", "mzs"), ("MS:1000515", "intensities"))
    )
    seconds = 'unitCvRef="UO" unitAccession="UO:0000010" unitName="second"'
    return (
        f'\n<spectrum index="{number - 1}" id="scan={number}" defaultArrayLength="{len(scan["mzs"])}">'
        f"{term('MS:1000511', scan['level'], '')}{term(polarity, '', '')}"
        f'<scanList count="1"><scan>{term("MS:1000016", scan["time"], seconds)}</scan></scanList>{selected}'
        f'<binaryDataArrayList count="2">{arrays}</binaryDataArrayList></spectrum>'
    )
