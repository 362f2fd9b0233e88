"""Simulated spectra of many molecules: a trained predictor's answers under several conditions, made imperfect.

In one folder:

- `part-00000.parquet`, …  schema SPECTRA, flagged `simulated`; a shard is written whole or not at all, so a killed run
  continues at the first that is missing;
- `simulation.json`        what was asked, what was excluded and why, spectra written;
- `lineage.json`           which predictor, for audits of whoever learns these spectra;
- `molecules.parquet`      InChIKey-14 and SMILES of every molecule that took part: what the leakage audit is told;
- `excluded.parquet`       InChIKey-14 and SMILES of what had to stay unseen.

Molecules come from imported lists, so they are neutral, without stereo, and each there once. A measured spectrum lacks
peaks, is not exact in intensity and holds peaks that no fragment explains; so peaks are dropped, weak ones more often,
intensities jittered, and noise peaks added.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from .. import lineage
from ..data.candidates.lists import MoleculeList
from ..lineage import LINEAGE, SIMULATION, USED, Origin, ancestors
from ..lock import exclusive
from ..models.options import Options
from ..models.predict.asking import Defaults, Question
from ..provenance import environment, file_hash, now, table_hash, write_json, write_parquet
from ..schemas import SPECTRA, conform
from ..spectra.flat import Flat, flatten, select
from ..spectra.formats.folders import EXCLUDED
from ..train.pretrain.folder import Progress, earlier
from ..train.pretrain.molecules import HeldOut, exclude, join, list_record
from .predicting import Predictor, stream

FLAG = "simulated"
_LOWEST_MZ = 40.0  # of noise peaks, Da


class SimulationOptions(Options):
    """Under which conditions, and how imperfect."""

    adducts: tuple[str, ...] = Field(("[M+H]+", "[M+Na]+", "[M-H]-"), min_length=1)
    energies: tuple[str, ...] = Field(("10", "20", "40"), min_length=1, description="as `mslitmus predict` reads them")
    instruments: tuple[str, ...] = Field(("Orbitrap", "QTOF"), min_length=1)
    spectra: int = Field(3, ge=1, description="of a molecule, conditions drawn without repetition")
    drop: float = Field(0.1, ge=0, lt=1, description="probability of losing a peak of a tenth of the base peak")
    jitter: float = Field(0.2, ge=0, le=2, description="σ of the log-normal factor on each intensity")
    noise: float = Field(2.0, ge=0, le=1000, description="noise peaks of a spectrum, mean of a Poisson distribution")
    noise_height: float = Field(0.01, gt=0, le=1, description="mean intensity of a noise peak, base peak 1")
    shard: int = Field(2000, ge=1, description="molecules of a file")


@dataclass(frozen=True)
class SimulationSetting:
    """Where, how many, and how near to held-out molecules (Tanimoto) is too near; as `Setting` of a pretraining."""

    folder: Path
    seed: int = 0
    limit: int | None = None
    near: float = 0.8
    processes: int = 2
    fresh: bool = False


def simulate_spectra(
    predictor: Predictor,
    lists: Sequence[MoleculeList],
    held_out: HeldOut,
    options: SimulationOptions,
    setting: SimulationSetting,
    progress: Progress = print,
) -> dict[str, Any]:
    """Simulate all shards that are missing; returns the record that it wrote.

    Raises RunError where the folder holds another simulation or one is at work in it, DataError where no molecule is
    left.
    """
    setting.folder.mkdir(parents=True, exist_ok=True)
    with exclusive(setting.folder):
        if setting.fresh:
            _forget(setting.folder)
        return _simulate(predictor, lists, held_out, options, setting, progress)


def _simulate(
    predictor: Predictor,
    lists: Sequence[MoleculeList],
    held_out: HeldOut,
    options: SimulationOptions,
    setting: SimulationSetting,
    progress: Progress,
) -> dict[str, Any]:
    chosen = {name: value for name, value in asdict(setting).items() if name in ("seed", "limit", "near")}
    asked = json.loads(
        json.dumps(
            {
                "model": predictor.source,
                "predictor": _model_hash(predictor.chosen.folder),
                "options": options.model_dump(mode="json"),
                **chosen,
                "lists": [list_record(each) for each in lists],
                "held_out": held_out.record,
                "held_out_hash": table_hash(held_out.molecules.select("inchikey14").unique().sort("inchikey14")),
            }
        )
    )
    record, met = earlier(setting.folder / SIMULATION, asked, "a simulation"), _met(predictor, held_out, progress)
    if record is None:
        record = {"asked": asked, **_choose(lists, held_out, setting, progress), "environment": environment()}
        lineage.write(setting.folder, None, [Origin("predictor", str(predictor.chosen.folder))])
        record |= {"predictor_met": met, "spectra": None, "refused": None, "finished": None}
        write_json(setting.folder / SIMULATION, record)
    molecules = pl.read_parquet(setting.folder / USED)
    counts = [
        _shard(predictor, molecules, number, start, options, setting, progress)
        for number, start in enumerate(range(0, molecules.height, options.shard))
    ]
    spectra = sum(made for made, _ in counts)
    refused = [names for _, names in counts]
    record |= {"spectra": spectra, "refused": sum(refused), "finished": record["finished"] or now()}
    write_json(setting.folder / SIMULATION, record)
    return record


def _model_hash(folder: Path) -> str:
    """Of the files of a saved model: shards of another one under the same name do not go together with its own."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and "checkpoints" not in path.parts)
    own = [path for path in paths if path.name not in (LINEAGE, lineage.TRAINED_ON)]
    told = "\n".join(f"{path.relative_to(folder)} {file_hash(path)}" for path in own)
    return sha256(told.encode()).hexdigest()[:16]


def _met(predictor: Predictor, held_out: HeldOut, progress: Progress) -> dict[str, Any]:
    """How many held-out molecules the predictor met, itself or through what it comes from.

    A predictor that learned the spectra of test molecules hands on what it knows, though none of them is simulated.
    """
    keys = held_out.molecules.select("inchikey14").drop_nulls().unique()
    found, untold = pl.DataFrame(schema={"inchikey14": pl.String}), []
    for each in ancestors(Origin("predictor", str(predictor.chosen.folder))):
        if each.molecules is None:
            untold.append(each.name)
        else:
            found = pl.concat([found, keys.join(each.molecules, on="inchikey14", how="semi")]).unique()
    if found.height:
        progress(
            f"warning: {predictor.chosen.label} met {found.height:,} of the {keys.height:,} held-out molecules in "
            "training: what it learned of them goes into these spectra. Train it with `data: {held_out_by: STUDY}`"
        )
    elif untold:
        remedy = "run its study once more: finished models are kept and get their record"
        progress(f"warning: nobody says which molecules were met by {untold[0]}; {remedy}")
    return {"held_out_met": found.height, "untold": untold}


def _choose(
    lists: Sequence[MoleculeList], held_out: HeldOut, setting: SimulationSetting, progress: Progress
) -> dict[str, Any]:
    everything = join(lists, setting.limit, setting.seed)
    progress(f"{everything.height:,} molecules; leaving out what is held out, and what is near to it")
    kept, excluded = exclude(everything, held_out, setting.near, processes=setting.processes, progress=progress)
    write_parquet(setting.folder / EXCLUDED, held_out.molecules.select("inchikey14", "smiles").unique().sort("smiles"))
    write_parquet(setting.folder / USED, kept.select("inchikey14", "smiles"))
    told = {"available": everything.height, "used": kept.height, "hash": table_hash(kept.select("inchikey14"))}
    return {"molecules": told, "excluded": excluded}


def _shard(
    predictor: Predictor,
    molecules: pl.DataFrame,
    number: int,
    start: int,
    options: SimulationOptions,
    setting: SimulationSetting,
    progress: Progress,
) -> tuple[int, int]:
    """(spectra, conditions refused) of one shard, made unless it is there already."""
    path = setting.folder / f"part-{number:05d}.parquet"
    part = molecules.slice(start, options.shard)
    wanted = part.height * min(options.spectra, len(_conditions(options)))
    if not path.exists():
        rng = np.random.default_rng([setting.seed, number])
        questions = list(_questions(part, options, rng))
        frames = [answer.frame for answer in stream(predictor, questions, Defaults())]
        predicted = conform(pl.concat(frames), SPECTRA)
        write_parquet(path, imperfect(predicted, options, rng))
        progress(f"{path.name}: {start + part.height:,} of {molecules.height:,} molecules")
    made = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    return made, wanted - made


def _conditions(options: SimulationOptions) -> list[tuple[str, str, str]]:
    return list(product(options.adducts, options.energies, options.instruments))


def _questions(part: pl.DataFrame, options: SimulationOptions, rng: np.random.Generator) -> Iterator[Question]:
    """`spectra` conditions of each molecule, drawn without repetition."""
    conditions = _conditions(options)
    drawn = rng.random((part.height, len(conditions))).argsort(axis=1)[:, : options.spectra]
    for (key, smiles), picks in zip(
        part.select("inchikey14", "smiles").iter_rows(), np.sort(drawn, axis=1), strict=True
    ):
        for pick in picks:
            adduct, energy, instrument = conditions[pick]
            yield Question(smiles, key, f"simulated-{key}-{pick}", adduct, energy, instrument)


def imperfect(frame: pl.DataFrame, options: SimulationOptions, rng: np.random.Generator) -> pl.DataFrame:
    """SPECTRA rows with peaks dropped, intensities jittered and noise peaks added; base peak 1 again.

    A peak of relative intensity x is lost with probability drop^(1 + log₁₀(10 x)), at most one half: a tenth of the
    base peak with `drop`, the base peak with its square. Noise is uniform in m/z up to the precursor, exponential in
    intensity. A spectrum that would lose all peaks keeps them.
    """
    flat = flatten(frame)
    row = np.repeat(np.arange(frame.height), np.diff(flat.offsets))
    lost = (
        np.minimum(options.drop ** (1 + np.log10(np.maximum(10 * flat.intensities, 1e-9))), 0.5) if options.drop else 0
    )
    keep = rng.random(len(row)) >= lost
    empty = np.bincount(row[keep], minlength=frame.height) == 0
    flat = select(flat, keep | empty[row])
    row = np.repeat(np.arange(frame.height), np.diff(flat.offsets))
    heights = flat.intensities * np.exp(options.jitter * rng.standard_normal(len(row)))
    precursor = np.maximum(frame["precursor_mz"].to_numpy(), _LOWEST_MZ + 1)
    added = np.repeat(np.arange(frame.height), rng.poisson(options.noise, frame.height))
    mzs = np.concatenate([flat.mzs, rng.uniform(_LOWEST_MZ, precursor[added])])
    heights = np.concatenate([heights, rng.exponential(options.noise_height, len(added))])
    row = np.concatenate([row, added])
    order = np.lexsort((mzs, row))
    return _with_peaks(frame, mzs[order], heights[order], row[order])


def _with_peaks(frame: pl.DataFrame, mzs: Any, heights: Any, row: Any) -> pl.DataFrame:
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=frame.height))])
    made = Flat(mzs, heights, offsets)
    largest = np.zeros(frame.height)
    np.maximum.at(largest, row, made.intensities)
    peaks = pl.DataFrame({"row": row, "mzs": made.mzs, "intensities": made.intensities / largest[row]})
    lists = peaks.group_by("row", maintain_order=True).agg("mzs", "intensities")
    numbered = frame.drop("mzs", "intensities").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    joined = numbered.join(lists, on="row", how="inner", maintain_order="left")
    return conform(joined.with_columns(flags=pl.lit([FLAG], dtype=pl.List(pl.String))), SPECTRA)


def _forget(folder: Path) -> None:
    """Remove what a simulation left in its folder, and nothing else."""
    for name in (SIMULATION, LINEAGE, USED, EXCLUDED):
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob("part-[0-9]*.parquet"):
        path.unlink()
    shutil.rmtree(folder / "features", ignore_errors=True)
