"""Reading what `library-combined` saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ...errors import ModelError


def read_combined(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], pl.DataFrame]:
    """Options, what was chosen, the learner's arrays, the library. Raises ModelError for absent or damaged files."""
    try:
        options, told = (json.loads((folder / f"{n}.json").read_text(encoding="utf-8")) for n in ("options", "chosen"))
        with np.load(folder / "learner.npz", allow_pickle=False) as file:
            arrays = dict(file)
        return options, told, arrays, pl.read_parquet(folder / "library.parquet")
    except (OSError, ValueError, KeyError) as error:
        remedy = "train again, or give the folder of a cell"
        raise ModelError(f"not a saved model: {error}", where=str(folder), remedy=remedy) from error
