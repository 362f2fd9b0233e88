"""SIRIUS `.ms` files with a table of labels: how NPLIB1 is distributed (`labels.tsv`, `spec_files/*.ms`).

Format: https://v6.docs.sirius-ms.io/io/; lines `>key value` and `#comment`, peak lists under `>collision E`, `>ms2…`,
`>ms1…`. The labels name columns spec, name, ionization, formula, smiles, inchikey, instrument.
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import polars as pl

from ..errors import DataError, FormatError
from ..spectra.formats import ReadResult
from ..spectra.metadata import harmonise

_COLUMNS = {
    "name": "name",
    "ionization": "adduct",
    "formula": "formula",
    "smiles": "smiles",
    "inchikey": "inchikey",
    "instrument": "instrument",
}
_KEYS = {"compound": "name", "parentmass": "precursor_mz", "ionization": "adduct", "formula": "formula",
         "smiles": "smiles", "inchikey": "inchikey", "instrumentation": "instrument"}  # fmt: skip


def read(path: Path, on_error: str = "skip") -> ReadResult:
    """Every MS2 block of the export at `path`, a tar archive or an unpacked folder.

    Raises DataError where labels.tsv or the spectra are absent; with on_error="raise" FormatError for a bad block.
    """
    labels: dict[str, dict[str, str]] = {}
    blocks: list[dict[str, object]] = []
    errors: list[FormatError] = []
    for name, text in _files(path):
        if name.name == "labels.tsv":
            labels = {row["spec"]: row for row in csv.DictReader(io.StringIO(text), delimiter="\t") if row.get("spec")}
        elif name.suffix == ".ms" and not name.name.startswith("."):
            try:
                blocks.extend(_blocks(name.stem, text))
            except ValueError as error:
                problem = FormatError(
                    f"not a SIRIUS file: {error}", where=f"{path}:{name}", remedy="repair or remove it"
                )
                if on_error == "raise":
                    raise problem from error
                errors.append(problem)
    if not labels or not blocks:
        absent = "labels.tsv" if not labels else "spec_files/*.ms"
        raise DataError(f"no {absent} inside", where=str(path), remedy="give the archive canopus_train_export_v2.tar")
    for block in blocks:
        row = labels.get(str(block.pop("spec")), {})
        block.update({new: row[old] for old, new in _COLUMNS.items() if row.get(old)})
    frame = pl.DataFrame(blocks, infer_schema_length=None).with_columns(ms_level=pl.lit("2"))
    return ReadResult(harmonise(frame), errors, "sirius")


def _files(path: Path) -> Iterator[tuple[PurePosixPath, str]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix in (".ms", ".tsv"):
                yield PurePosixPath(file.relative_to(path).as_posix()), file.read_text("utf-8", "replace")
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                handle = archive.extractfile(member) if member.name.endswith((".ms", "labels.tsv")) else None
                if handle is not None:
                    yield PurePosixPath(member.name), handle.read().decode("utf-8", "replace")
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"the archive is damaged: {error}", where=str(path), remedy="download it again") from error


def _blocks(spec: str, text: str) -> Iterator[dict[str, object]]:
    """One row a peak list of level 2; ValueError for a peak line that is not two numbers."""
    meta: dict[str, object] = {}
    lists: list[tuple[str | None, list[tuple[float, float]]]] = []
    inside = False
    for line in text.splitlines():
        plain = line.strip()
        if plain.startswith(">"):
            key, _, value = plain[1:].partition(" ")
            key, value = key.lower(), value.strip()
            inside = key.startswith(("collision", "ms2"))
            if inside:
                lists.append((value or None, []))
            elif key in _KEYS and value:
                meta[_KEYS[key]] = float(value) if key == "parentmass" else value
        elif plain and not plain.startswith("#") and inside:
            mz, intensity = (float(part) for part in plain.split()[:2])
            lists[-1][1].append((mz, intensity))
    filled = [(energy, peaks) for energy, peaks in lists if peaks]
    for number, (energy, peaks) in enumerate(filled):
        yield _row(spec if len(filled) == 1 else f"{spec}-{number + 1}", spec, meta, energy, peaks)


def _row(
    identifier: str, spec: str, meta: Mapping[str, object], energy: str | None, peaks: list[tuple[float, float]]
) -> dict[str, object]:
    lists = {"mzs": [mz for mz, _ in peaks], "intensities": [intensity for _, intensity in peaks]}
    names = dict.fromkeys([*_KEYS.values(), *_COLUMNS.values()])
    return names | dict(meta) | lists | {"identifier": identifier, "spec": spec, "collision_energy_raw": energy}
