"""A made-up cohort as MGF files: molecules that all samples hold, some that one class holds, noise, blanks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

MOLECULES, MARKERS = 30, 6


def molecules(seed: int) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """(precursor m/z, fragment m/z, intensities)"""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(MOLECULES + 2 * MARKERS):
        precursor = rng.uniform(150, 600)
        mzs = np.sort(rng.uniform(50, precursor - 15, 8))
        out.append((precursor, mzs, rng.uniform(0.05, 1, 8)))
    return out


def spectrum(number: int, precursor: float, mzs: np.ndarray, intensities: np.ndarray, time: float) -> str:
    peaks = "\n".join(f"{m:.4f} {i:.6g}" for m, i in zip(mzs, intensities, strict=True))
    return (
        f"BEGIN IONS\nSCANS={number}\nPEPMASS={precursor:.4f}\nCHARGE=1+\nMSLEVEL=2\nRTINSECONDS={time:.1f}\n"
        f"{peaks}\nEND IONS\n"
    )


def run(share: dict[int, float], seed: int, strength: float = 1e6, ions: list | None = None) -> str:
    """An MGF of one run: molecule → how likely it is to be seen."""
    rng = np.random.default_rng(seed)
    ions = molecules(0) if ions is None else ions
    parts = []
    for number, chance in share.items():
        if rng.random() < chance:
            precursor, mzs, intensities = ions[number]
            seen = intensities * rng.lognormal(0, 0.2, 8) * strength
            parts.append(spectrum(number + 1, precursor, mzs + rng.normal(0, 5e-4, 8), seen, 60.0 + 10 * number))
    return "\n".join(parts)


def write(folder: Path, *, groups: int = 6, replicates: int = 2, effect: bool = True, blanks: int = 2) -> Path:
    """Files and `samples.tsv` of two classes of `groups` subjects each, `replicates` runs a subject. Returns the sheet.

    `dose` is a number: how many of the markers of class b a subject holds. Blanks hold the first three molecules.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    common = dict.fromkeys(range(MOLECULES), 0.85)
    lines = ["file\tgroup\tdose\treplicate\tbatch\torder\trole"]
    order = 0
    for subject in range(2 * groups):
        kind = "ab"[subject % 2]
        held = 1 + subject // 2 % MARKERS
        markers = (
            range(MOLECULES, MOLECULES + held) if kind == "b" else range(MOLECULES + MARKERS, MOLECULES + 2 * MARKERS)
        )
        share = {**common, **(dict.fromkeys(markers, 0.95) if effect else {})}
        for replicate in range(replicates):
            order += 1
            name = f"s{subject:02d}_{replicate}"
            (folder / f"{name}.mgf").write_text(run(share, int(rng.integers(1 << 31))))
            dose = held if kind == "b" else 0
            lines.append(f"{name}.mzML\t{kind}\t{dose}\ts{subject:02d}\tall\t{order}\t")
    for blank in range(blanks):
        (folder / f"blank{blank}.mgf").write_text(run(dict.fromkeys(range(3), 1.0), blank))
        lines.append(f"blank{blank}.mgf\t\t\t\t\t\tblank")
    sheet = folder / "samples.tsv"
    sheet.write_text("\n".join(lines) + "\n")
    return sheet
