"""Score and ask under a frozen benchmark: first it is verified, then nothing of it can be chosen otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..provenance import write_json
from ..studies.folder import read_json
from ..studies.runner import run
from .blind import Blind, write_blind
from .freeze import check
from .manifest import Manifest
from .submission import Controls

Progress = Callable[[str], None]


def score(
    manifest: Manifest,
    track: str,
    split: str,
    predictions: Mapping[str, Path],
    folder: Path,
    progress: Progress,
    *,
    controls: Controls = "all",
    allow_missing: bool = False,
    difficulty: bool = False,
    fresh: bool = False,
) -> Path:
    """Judge prediction files (name → file) on one track and split; returns the run folder.

    The benchmark's id and hash stand in the title and in provenance.json (`bench`). Raises DataError where this machine
    does not hold what was frozen, and whatever a run raises.
    """
    study = manifest.recipe.study(
        track, split, predictions, controls=controls, allow_missing=allow_missing, difficulty=difficulty
    )
    progress(f"verifying {manifest.id}")
    check(manifest, track, split, progress)
    root = run(study, folder, progress=progress, fresh=fresh)
    record = read_json(root / "provenance.json")
    write_json(root / "provenance.json", {**record, "bench": manifest.stamp(track, split)})
    return root


def ask(
    manifest: Manifest,
    track: str,
    split: str,
    out: Path,
    progress: Progress,
    *,
    fold: str = "test",
    training: Path | None = None,
) -> Blind:
    """Write the blind queries of one track and split, id and hash in the readme. Raises as `score` does."""
    check(manifest, track, split, progress)
    stamp = manifest.stamp(track, split)
    study = manifest.recipe.study(track, split)
    return write_blind(study, out, progress, fold=fold, training=training, bench=stamp)
