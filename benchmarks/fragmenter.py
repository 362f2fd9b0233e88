"""The fragmenter on the MassBank archive: share of peaks and intensity explained, against decoys of the same mass.

python benchmarks/fragmenter.py [ARCHIVE.tar.gz] [--per-contributor 1000] [--ppm 10] [--sweep]

[M+H]+ MS2 spectra, peaks of at least 1 % of the base peak, precursor included. The decoy is another molecule of the
archive within 3 Da, drawn at random. `--sweep` compares hydrogen ranges, depths and bond limits on Eawag, UFZ and BAFG.
"""

from __future__ import annotations

import argparse
import re
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mslitmus.chem.fragmenter import Fragments, carrier, fragment
from mslitmus.chem.molecule import identify
from mslitmus.errors import ChemistryError

ARCHIVE = Path(__file__).parents[2] / "shared/data/MassBank-data-2025.05.1-open.tar.gz"
Limits = Callable[[Fragments], tuple[Any, Any]]


@dataclass(frozen=True)
class Spectrum:
    accession: str
    contributor: str
    smiles: str
    mzs: NDArray[np.float64]
    intensities: NDArray[np.float64]


def spectra(archive: Path) -> list[Spectrum]:
    """All [M+H]+ MS2 spectra with a structure, peaks below 1 % left out."""
    found = []
    with tarfile.open(archive) as handle:
        for member in handle:
            parts = Path(member.name).parts
            if not member.name.endswith(".txt") or len(parts) != 3 or not (file := handle.extractfile(member)):
                continue
            text = file.read().decode()
            smiles = re.search(r"^CH\$SMILES: (\S+)", text, re.MULTILINE)
            if "PRECURSOR_TYPE [M+H]+\n" not in text or "MS_TYPE MS2\n" not in text or smiles is None:
                continue
            lines = text.partition("PK$PEAK:")[2].splitlines()[1:]
            peaks = np.array([[float(x) for x in line.split()[:2]] for line in lines if line.startswith("  ")])
            if len(peaks) and peaks[:, 1].max() > 0 and smiles[1] != "N/A":
                heights = peaks[:, 1] / peaks[:, 1].max()
                kept = heights >= 0.01
                found.append(Spectrum(member.name, parts[1], smiles[1], peaks[kept, 0], heights[kept]))
    return found


@lru_cache(maxsize=20_000)
def pieces(smiles: str, depth: int = 3, max_order: float = 4.5) -> Fragments | None:
    try:
        return fragment(smiles, depth, max_order=max_order)
    except ChemistryError:
        return None


def decoys(found: Sequence[Spectrum]) -> Callable[[Spectrum], str | None]:
    """Spectrum → SMILES of another molecule within 3 Da, or None."""
    molecules: dict[str, tuple[float, str]] = {}
    for smiles in {s.smiles for s in found}:
        try:
            molecules[identify(smiles).inchikey14] = (identify(smiles).exact_mass, smiles)
        except ChemistryError:
            continue
    ordered = sorted((mass, key, smiles) for key, (mass, smiles) in molecules.items())
    masses = np.array([mass for mass, _, _ in ordered])

    def draw(spectrum: Spectrum) -> str | None:
        try:
            identity = identify(spectrum.smiles)
        except ChemistryError:
            return None
        low, high = np.searchsorted(masses, [identity.exact_mass - 3, identity.exact_mass + 3])
        others = [smiles for _, key, smiles in ordered[low:high] if key != identity.inchikey14]
        return Random(spectrum.accession).choice(others) if others else None

    return draw


def explained(spectrum: Spectrum, fragments: Fragments, ppm: float, limits: Limits | None) -> NDArray[np.bool_]:
    if limits is None:
        ions = np.sort(fragments.ion_mzs("[M+H]+")[0])
    else:
        low, high = limits(fragments)
        shifts = np.arange(-6, 7)
        index, column = np.nonzero((shifts >= np.c_[low]) & (shifts <= np.c_[high]))
        ions = np.sort(fragments.mass[index] + shifts[column] * 1.00782503223 + carrier("[M+H]+"))
    right = np.searchsorted(ions, spectrum.mzs)
    below, above = ions[np.maximum(right - 1, 0)], ions[np.minimum(right, len(ions) - 1)]
    near = np.minimum(np.abs(below - spectrum.mzs), np.abs(above - spectrum.mzs))
    return np.asarray(near <= spectrum.mzs * ppm * 1e-6)


def measure(
    rows: Sequence[Spectrum],
    draw: Callable[[Spectrum], str | None],
    ppm: float,
    depth: int = 3,
    max_order: float = 4.5,
    limits: Limits | None = None,
) -> tuple[int, NDArray[np.float64]]:
    """(spectra, means in % of: peaks, intensity, peaks by the decoy, intensity by the decoy)."""
    values = []
    for row in rows:
        other = draw(row)
        own, decoy = pieces(row.smiles, depth, max_order), pieces(other, depth, max_order) if other else None
        if own is None or decoy is None:
            continue
        hits = [explained(row, f, ppm, limits) for f in (own, decoy)]
        total = row.intensities.sum()
        values.append([share for hit in hits for share in (hit.mean(), row.intensities[hit].sum() / total)])
    return len(values), 100 * np.array(values).reshape(-1, 4).mean(0)


def line(label: str, count: int, m: NDArray[np.float64]) -> str:
    return (
        f"| {label} | {count} | {m[0]:.1f} | {m[1]:.1f} | {m[2]:.1f} | {m[3]:.1f} | {m[0] - m[2]:.1f} | "
        f"{m[1] - m[3]:.1f} |"
    )


HEADER = (
    "| {} | spectra | peaks % | intensity % | decoy peaks % | decoy intensity % | peaks − decoy | intensity − decoy |\n"
    "|---|---|---|---|---|---|---|---|"
)


def sweep(by: dict[str, list[Spectrum]], draw: Callable[[Spectrum], str | None], ppm: float) -> None:
    def cuts(low: int, high: int | None, bound: int = 6) -> Limits:
        def limits(f: Fragments) -> tuple[Any, Any]:
            room = f.cuts.astype(int)
            return -np.minimum(bound, room + low), room if high is None else np.minimum(high, room)

        return limits

    def all_alike(f: Fragments) -> tuple[Any, Any]:
        return np.full(len(f), -4), np.full(len(f), 4)

    choices: list[tuple[str, int, float, Limits | None]] = [
        ("chosen: depth 3, order ≤ 4.5, max(-4, -(cuts+1)) … min(1, cuts)", 3, 4.5, None),
        ("depth 1", 1, 4.5, None),
        ("depth 2", 2, 4.5, None),
        ("depth 2, any order", 2, np.inf, None),
        ("depth 3, any order", 3, np.inf, None),
        ("order ≤ 3", 3, 3.0, None),
        ("order ≤ 4", 3, 4.0, None),
        ("order ≤ 5", 3, 5.0, None),
        ("order ≤ 6", 3, 6.0, None),
        ("depth 4", 4, 4.5, None),
        ("shift -4 … +4", 3, 4.5, all_alike),
        ("shift -cuts … +cuts", 3, 4.5, cuts(0, None)),
        ("shift -cuts … +1", 3, 4.5, cuts(0, 1)),
        ("shift -(cuts+2) … +1", 3, 4.5, cuts(2, 1)),
        ("shift -(cuts+1) … +2", 3, 4.5, cuts(1, 2)),
        ("shift -(cuts+1) … 0", 3, 4.5, cuts(1, 0)),
    ]
    for contributor in ("Eawag", "UFZ", "BAFG"):
        print(f"\n{contributor}\n\n" + HEADER.format("choice"))
        for label, depth, order, limits in choices:
            means = measure(by[contributor][:300], draw, ppm, depth, order, limits)
            print(line(label, *means), flush=True)
            pieces.cache_clear()


def timing(smiles: Sequence[str]) -> None:
    fragment("CCO")
    times, sizes = [], []
    for text in smiles:
        start = time.process_time()
        try:
            sizes.append(len(fragment(text)))
        except ChemistryError:
            continue
        times.append(1e3 * (time.process_time() - start))
    print(
        f"fragment() of {len(times)} molecules, CPU time: median {np.median(times):.2f} ms, mean {np.mean(times):.2f}, "
        f"95 % {np.percentile(times, 95):.2f} ms, median {np.median(sizes):.0f} fragments, most {max(sizes)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path, default=ARCHIVE)
    parser.add_argument("--per-contributor", type=int, default=1000)
    parser.add_argument("--ppm", type=float, default=10.0)
    parser.add_argument("--sweep", action="store_true")
    options = parser.parse_args()
    found = spectra(options.archive)
    random = Random(0)
    by: dict[str, list[Spectrum]] = {}
    for row in random.sample(found, len(found)):
        by.setdefault(row.contributor, []).append(row)
    print(f"{len(found)} [M+H]+ MS2 spectra, {len(by)} contributors")
    timing(random.sample(sorted({s.smiles for s in found}), 3000))
    draw = decoys(found)
    if options.sweep:
        sweep(by, draw, options.ppm)
        return
    print("\n" + HEADER.format("contributor"))
    everything = []
    for contributor in sorted(by, key=lambda name: -len(by[name])):
        if len(by[contributor]) >= 100:
            count, means = measure(by[contributor][: options.per_contributor], draw, options.ppm)
            everything.append((count, means))
            print(line(contributor, count, means), flush=True)
    total = sum(count for count, _ in everything)
    print(line("all of these", total, sum(count * means for count, means in everything) / total))


if __name__ == "__main__":
    main()
