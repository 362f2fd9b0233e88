"""The lie detector against planted cheats and honest models: trials, then tables of detection, power and false alarms.

    python benchmarks/liars.py OUT [--seeds 5] [--molecules 120] [--sources simulated massbank] [--power] [--tables]
        [--candidates formula=SET mass=SET] [--unseen]

`massbank` needs the dataset in the store (MSLITMUS_HOME) and stored candidate sets (`mslitmus candidates build`), by
name or folder. Trials that OUT has are not run again; `--tables` prints what is there and runs nothing. Planted data
and runs lie in OUT/home and OUT/trials and are removed after each trial. `--unseen` runs the liars and honest models
that were written blind in place of the known ones: give it an OUT of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from mslitmus.audits.liars import HONEST, LIARS, Honest, Liar
from mslitmus.audits.liars.unseen import UNSEEN_HONEST, UNSEEN_LIARS
from mslitmus.data import store
from mslitmus.data.candidates import CandidateSet, PoolSettings, build, candidate_set, dataset_list
from mslitmus.data.simulate import simulated_dataset
from mslitmus.provenance import write_json, write_parquet
from mslitmus.studies import liars as lab
from mslitmus.studies import verdicts

_FLAGS = ("duplicate", "conflicting-label", "unit-resolution")
_POOL = 16


def simulated(molecules: int, given: dict[str, CandidateSet]) -> lab.Source:
    spectra = simulated_dataset().frame()
    pools = given
    if not pools:
        own = spectra.select("inchikey14", "smiles").unique("inchikey14").sort("inchikey14")
        wanted = own.sample(min(2 * molecules, own.height), seed=0)
        pools = {"formula": build(wanted, [dataset_list(own)], PoolSettings("formula", _POOL), name="liars")}
    return lab.Source("simulated", spectra, pools)


def massbank(pools: dict[str, CandidateSet]) -> lab.Source:
    spectra = store.load("massbank").frame()
    flagged = pl.any_horizontal(pl.col("flags").list.contains(flag).fill_null(False) for flag in _FLAGS)
    good = pl.col("instrument_type").is_in(["Orbitrap", "QTOF", "FTICR"]) & (pl.col("precursor_mz") <= 1000)
    known = pl.all_horizontal(pl.col(c).is_not_null() for c in ("smiles", "inchikey14", "formula"))
    return lab.Source("massbank", spectra.filter(known & good & ~flagged & (pl.col("mzs").list.len() > 0)), pools)


def cast(unseen: bool) -> tuple[tuple[Liar, ...], tuple[Honest, ...]]:
    return (UNSEEN_LIARS, UNSEEN_HONEST) if unseen else (LIARS, HONEST)


def trials(
    source: lab.Source, seeds: int, power: bool, unseen: bool = False
) -> Iterator[tuple[str, tuple[Liar, ...] | str, int, float | None]]:
    """(name of the trial, liars or a task, seed, dose): honest models first, then the main dose, then the others."""
    liars, honest = cast(unseen)
    for seed in range(seeds):
        for task in sorted({each.task for each in honest}):
            yield f"honest-{task}-{source.name}-{seed}", task, seed, None
        for number, group in enumerate(lab.together(source.name, liars)):
            yield f"liars-{number}-{source.name}-{seed}", group, seed, None
    for seed in range(seeds if power else 0):
        for group in lab.together(source.name, liars):
            for dose in sorted({dose for liar in group for dose in liar.doses}):
                chosen = tuple(liar for liar in group if dose in liar.doses and dose != liar.dose)
                if chosen:
                    yield f"dose-{chosen[0].name}-{dose:g}-{source.name}-{seed}".replace(" ", "_"), chosen, seed, dose


def run(source: lab.Source, arguments: argparse.Namespace) -> None:
    out: Path = arguments.out.resolve()
    (out / "findings").mkdir(parents=True, exist_ok=True)
    honest = cast(arguments.unseen)[1]
    for name, who, seed, dose in trials(source, arguments.seeds, arguments.power, arguments.unseen):
        path = out / "findings" / f"{name}.parquet"
        if path.exists():
            continue
        started, folder = time.perf_counter(), out / "trials" / name
        world = source.world(seed, arguments.molecules)
        with lab.home(out / "home"):
            lab.discard(folder)
            group: Sequence[Liar] = () if isinstance(who, str) else who
            if isinstance(who, str):
                root = lab.honest_trial(who, world, folder, honest)
            else:
                root, world = lab.liar_trial(group, world, folder, dose)
            gains = {liar.name: lab.gain(root, liar) for liar in group}
            table = lab.examine_trial(root, world, group, source.name, dose, honest=honest)
            write_json(path.with_suffix(".json"), {"gains": gains, "molecules": arguments.molecules})
            write_parquet(path, table)
            lab.discard(folder)
        loud = table.filter(pl.col("severity").is_in(["fatal", "warning"]))["audit"].unique().sort().to_list()
        failed = table.filter(pl.col("error").is_not_null()).select("audit", "error").unique().rows()
        print(f"{name}: {time.perf_counter() - started:.0f} s; loud: {', '.join(loud)}; failed: {failed}", flush=True)


def tables(out: Path, unseen: bool) -> None:
    liars, honest = cast(unseen)
    found = pl.concat([pl.read_parquet(path) for path in sorted((out / "findings").glob("*.parquet"))])
    write_parquet(out / "findings.parquet", found)
    gain_table(out)
    write_parquet(out / "verdicts.parquet", verdicts.verdicts(found, liars))
    print(f"\n## Detection\n\n{verdicts.detection_table(found, liars)}")
    print(f"\n## Power\n\n{verdicts.power_table(found, liars)}")
    print(f"\n## False alarms\n\n{verdicts.false_alarm_table(found, honest)}")


def gain_table(out: Path) -> None:
    print("\n## Gains (mean of the primary metric)\n")
    rows = []
    for path in sorted((out / "findings").glob("liars-*.json")):
        source = path.stem.split("-")[2]
        gains = json.loads(path.read_text(encoding="utf-8"))["gains"]
        rows += [(name, source, each["liar"], each["honest"]) for name, each in gains.items()]
    gained = pl.DataFrame(rows, schema=["liar", "source", "its", "honest"], orient="row")
    means = gained.group_by("liar", "source").agg(pl.col("its", "honest").mean(), n=pl.len()).sort("liar", "source")
    print("| liar | source | it | honest | trials |\n|---|---|---|---|---|")
    for liar, source, its, honest, n in means.rows():
        print(f"| {liar} | {source} | {its:.3f} | {honest:.3f} | {n} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--molecules", type=int, default=120)
    parser.add_argument("--sources", nargs="+", default=["simulated"], choices=["simulated", "massbank"])
    parser.add_argument("--candidates", nargs="*", default=[], help="KIND=SET, of the source")
    parser.add_argument("--power", action="store_true", help="the other doses too")
    parser.add_argument("--unseen", action="store_true", help="those that were written blind, not the known ones")
    parser.add_argument("--tables", action="store_true", help="print tables only")
    arguments = parser.parse_args()
    if not arguments.tables:
        named = dict(each.split("=", 1) for each in arguments.candidates)
        pools = {kind: candidate_set(name) for kind, name in named.items()}
        for name in arguments.sources:
            source = massbank(pools) if name == "massbank" else simulated(arguments.molecules, pools)
            run(source, arguments)
    tables(arguments.out, arguments.unseen)


if __name__ == "__main__":
    main()
