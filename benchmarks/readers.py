"""Speed of the readers on one core, file → schema frame, beside pyteomics (and matchms where installed).

    python benchmarks/readers.py --archive ../shared/data/MassBank-data-2025.05.1-open.tar.gz --spectra 50000

The MGF and MSP hold real MassBank spectra as other programs would write them, repeated until there are enough; the mzML
is written here (zlib, 64-bit m/z, 32-bit intensities). Each time is the best of three, after one warm-up for numba.
"""

from __future__ import annotations

import argparse
import base64
import os
import platform
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

for _name in ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from mslitmus.spectra import formats  # noqa: E402

Peaks = tuple[np.ndarray, np.ndarray]


def real_spectra(archive: Path, count: int, peaks: int) -> list[dict[str, object]]:
    """`count` MS/MS spectra of the archive with m/z, repeated as needed, cut to their `peaks` strongest peaks."""
    frame = formats.read_raw(archive, on_error="skip").frame
    frame = frame.filter(pl.col("precursor_mz").is_not_null() & pl.col("mzs").list.len().is_between(20, 200))
    rows = frame.head(5000).to_dicts()
    out = []
    for number in range(count):
        row = dict(rows[number % len(rows)], identifier=f"S{number:06d}")
        order = np.sort(np.argsort(row["intensities"])[-peaks:])
        row["mzs"], row["intensities"] = np.array(row["mzs"])[order], np.array(row["intensities"])[order]
        out.append(row)
    return out


def mgf_text(rows: Iterable[dict[str, object]]) -> str:
    return "".join(
        f"BEGIN IONS\nTITLE={r['identifier']}\nPEPMASS={r['precursor_mz']}\nCHARGE={_charge(r)}\n"
        f"IONMODE={r['ion_mode']}\nADDUCT={r['adduct']}\nSMILES={r['smiles']}\nINCHI={r['inchi']}\nNAME={r['name']}\n"
        f"SOURCE_INSTRUMENT={r['instrument']}\nCOLLISION_ENERGY={r['collision_energy_raw']}\nMSLEVEL=2\n"
        + _lines(r)
        + "END IONS\n\n"
        for r in rows
    )


def msp_text(rows: Iterable[dict[str, object]]) -> str:
    return "".join(
        f"Name: {r['name']}\nDB#: {r['identifier']}\nInChIKey: {r['inchikey']}\nInChI: {r['inchi']}\n"
        f"SMILES: {r['smiles']}\nPrecursor_type: {r['adduct']}\nSpectrum_type: MS2\nPrecursorMZ: {r['precursor_mz']}\n"
        f"Instrument_type: {r['instrument_type']}\nInstrument: {r['instrument']}\nIon_mode: {r['ion_mode']}\n"
        f"Collision_energy: {r['collision_energy_raw']}\nFormula: {r['formula']}\nMW: {r['parent_mass']}\n"
        f"Comments: Parent={r['precursor_mz']}\nNum Peaks: {len(r['mzs'])}\n" + _lines(r) + "\n"  # type: ignore[arg-type]
        for r in rows
    )


def _charge(row: dict[str, object]) -> str:
    return "1-" if str(row["ion_mode"]).upper().startswith("N") else "1+"


def _lines(row: dict[str, object]) -> str:
    return "".join(f"{m} {i}\n" for m, i in zip(row["mzs"].tolist(), row["intensities"].tolist(), strict=True))  # type: ignore[attr-defined]


_TERMS = {
    "MS:1000523": "64-bit float",
    "MS:1000521": "32-bit float",
    "MS:1000514": "m/z array",
    "MS:1000515": "intensity array",
}


def mzml_text(rows: list[dict[str, object]]) -> str:
    def array(values: np.ndarray, dtype: str, bits: str, kind: str) -> str:
        packed = base64.b64encode(zlib.compress(values.astype(dtype).tobytes(), 6)).decode()
        return (
            f'<binaryDataArray encodedLength="{len(packed)}">'
            f'<cvParam cvRef="MS" accession="{bits}" name="{_TERMS[bits]}"/>'
            f'<cvParam cvRef="MS" accession="MS:1000574" name="zlib compression"/>'
            f'<cvParam cvRef="MS" accession="{kind}" name="{_TERMS[kind]}"/><binary>{packed}</binary></binaryDataArray>'
        )

    spectra = "\n".join(
        f'<spectrum index="{n}" id="scan={n + 1}" defaultArrayLength="{len(r["mzs"])}">'  # type: ignore[arg-type]
        '<cvParam cvRef="MS" accession="MS:1000511" name="ms level" value="2"/>'
        '<cvParam cvRef="MS" accession="MS:1000130" name="positive scan"/>'
        '<cvParam cvRef="MS" accession="MS:1000127" name="centroid spectrum"/>'
        '<scanList count="1"><scan><cvParam cvRef="MS" accession="MS:1000016" name="scan start time" '
        f'value="{n / 10}" unitAccession="UO:0000010" unitName="second"/></scan></scanList><precursorList count="1">'
        '<precursor><selectedIonList count="1"><selectedIon><cvParam cvRef="MS" accession="MS:1000744" '
        f'name="selected ion m/z" value="{r["precursor_mz"]}"/></selectedIon></selectedIonList><activation>'
        '<cvParam cvRef="MS" accession="MS:1000422" name="beam-type collision-induced dissociation"/>'
        '<cvParam cvRef="MS" accession="MS:1000045" name="collision energy" value="30.0" unitName="electronvolt"/>'
        '</activation></precursor></precursorList><binaryDataArrayList count="2">'
        + array(r["mzs"], "<f8", "MS:1000523", "MS:1000514")  # type: ignore[arg-type]
        + array(r["intensities"], "<f4", "MS:1000521", "MS:1000515")  # type: ignore[arg-type]
        + "</binaryDataArrayList></spectrum>"
        for n, r in enumerate(rows)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<mzML xmlns="http://psi.hupo.org/ms/mzml" version="1.1.0">'
        f'<run id="r"><spectrumList count="{len(rows)}">\n{spectra}\n</spectrumList></run></mzML>\n'
    )


def _pyteomics(kind: str, path: Path) -> list[Peaks]:
    if kind == "mgf":
        from pyteomics import mgf

        with mgf.MGF(str(path), convert_arrays=1) as reader:
            return [(s["m/z array"], s["intensity array"]) for s in reader]
    if kind == "msp":
        from pyteomics import msp

        with msp.MSP(str(path)) as reader:
            return [(s["m/z array"], s["intensity array"]) for s in reader]
    from pyteomics import mzml

    with mzml.MzML(str(path), use_index=False) as reader:
        return [(s["m/z array"], s["intensity array"]) for s in reader]


def _matchms(kind: str, path: Path) -> list[Peaks]:
    from matchms import importing

    load = {"mgf": importing.load_from_mgf, "msp": importing.load_from_msp, "mzml": importing.load_from_mzml}[kind]
    return [(s.peaks.mz, s.peaks.intensities) for s in load(str(path))]


def best(run: Callable[[], object], repeats: int) -> tuple[float, object]:
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times), result


def agreement(frame: pl.DataFrame, theirs: list[Peaks]) -> str:
    """Spectra and peaks on both sides, and the largest difference of m/z (peaks sorted)."""
    if len(frame) != len(theirs):
        return f"{len(frame)} against {len(theirs)} spectra"
    mzs = frame["mzs"].explode().to_numpy()
    other = np.concatenate([np.sort(mz) for mz, _ in theirs])
    if len(mzs) != len(other):
        return f"{len(mzs)} against {len(other)} peaks"
    return f"{len(theirs):,} spectra, {len(other):,} peaks, max |Δm/z| = {np.abs(mzs - other).max():g}"


def report(kind: str, path: Path, repeats: int) -> None:
    formats.read(path)
    ours, result = best(lambda: formats.read(path), repeats)
    frame = result.frame  # type: ignore[attr-defined]
    size = f"{len(frame):,} spectra, {path.stat().st_size / 1e6:.0f} MB"
    print(f"{kind:9} mslitmus  {len(frame) / ours:>9,.0f} spectra/s   ({size})")
    for name, reader in (("pyteomics", _pyteomics), ("matchms", _matchms)):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        try:
            start = time.perf_counter()
            theirs = reader(kind, path)
            seconds = time.perf_counter() - start
        except Exception as error:  # another library's failure is a result here
            print(f"{kind:9} {name:9} cannot read it here: {error!r}")
            continue
        ratio = f"ours is {seconds / ours:.1f} times as fast"
        print(f"{kind:9} {name:9} {len(theirs) / seconds:>9,.0f} spectra/s   {ratio}; {agreement(frame, theirs)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--archive", type=Path, required=True, help="MassBank release archive")
    parser.add_argument("--spectra", type=int, default=50_000)
    parser.add_argument("--peaks", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    names = ("mslitmus", "polars", "numba", "numpy", "pyteomics", "matchms")
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    versions = ", ".join(f"{n} {installed[n]}" for n in names if n in installed)
    print(f"Python {sys.version.split()[0]}, {versions}; {platform.machine()}, one thread")
    rows = real_spectra(args.archive, args.spectra, args.peaks)
    with tempfile.TemporaryDirectory() as folder:
        for kind, text in (("mgf", mgf_text), ("msp", msp_text), ("mzml", mzml_text)):
            path = Path(folder) / f"bench.{kind}"
            path.write_text(text(rows[: 10_000 if kind == "mzml" else None]))
            report(kind, path, args.repeats)
    seconds, result = best(lambda: formats.read(args.archive, on_error="skip"), 1)
    count = len(result.frame)  # type: ignore[attr-defined]
    print(
        f"massbank  mslitmus  {count / seconds:>9,.0f} records/s   ({count:,} records in {seconds:.1f} s from tar.gz)"
    )


if __name__ == "__main__":
    main()
