"""Which generator a model folder holds, where no record of a run says so."""

from __future__ import annotations

from pathlib import Path

BLEND = "blend.json"
GENERATORS = ("spectrum-to-smiles", "tuned-spectrum-to-smiles", "fingerprint-to-smiles")


def registered(folder: Path) -> str:
    """Registered name of what `save` of a generator wrote."""
    if (folder / BLEND).is_file():
        return "structure-blend"
    if (folder / "inner").is_dir():
        return "fingerprint-to-smiles"
    return "tuned-spectrum-to-smiles" if (folder / "pool.parquet").is_file() else "spectrum-to-smiles"
