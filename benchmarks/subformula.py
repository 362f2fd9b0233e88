"""Peak annotation on the MassBank archive: time, agreement with the PK$ANNOTATION lines, ratio to a plain Python loop.

python benchmarks/subformula.py [ARCHIVE.tar.gz] [--limit N] [--ppm 10] [--threads 2]
"""

from __future__ import annotations

import argparse
import re
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from mslitmus.chem.compositions import VALENCE, Rules, enumerate_slowly
from mslitmus.chem.formula import parse_adduct, parse_formula
from mslitmus.chem.subformula import annotate_frame, explained
from mslitmus.errors import ChemistryError

ARCHIVE = Path(__file__).parents[2] / "shared/data/MassBank-data-2025.05.1-open.tar.gz"
_FIELDS = {
    "ACCESSION": "identifier",
    "CH$FORMULA": "formula",
    "MS$FOCUSED_ION: PRECURSOR_TYPE": "adduct",
    "MS$DATA_PROCESSING: REANALYZE": "reanalysed",
}
_HEADER = "PK$ANNOTATION: m/z tentative_formula formula_count mass error(ppm)"


def records(archive: Path) -> Iterator[tuple[str, str]]:
    """(contributor, text) of every record of the release."""
    with tarfile.open(archive) as handle:
        for member in handle:
            parts = Path(member.name).parts
            if member.name.endswith(".txt") and len(parts) == 3 and (file := handle.extractfile(member)):
                yield parts[1], file.read().decode()


def read(archive: Path, limit: int | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Spectra (as far as annotation needs the schema) and the annotation lines: identifier, mz, theirs, mass."""
    spectra, lines = [], []
    for contributor, text in records(archive):
        if limit is not None and len(spectra) >= limit:
            break
        row: dict[str, object] = {"source": contributor, "mzs": [], "intensities": []}
        block = ""
        for line in text.splitlines():
            if line.startswith("  "):
                cells = line.split()
                if block == "peaks":
                    row["mzs"].append(float(cells[0]))  # type: ignore[attr-defined]
                    row["intensities"].append(float(cells[1]))  # type: ignore[attr-defined]
                elif block == "annotation" and cells[1] != "NA":
                    lines.append((row["identifier"], float(cells[0]), cells[1], float(cells[3])))
                continue
            block = "annotation" if line == _HEADER else "peaks" if line.startswith("PK$PEAK") else ""
            for tag, name in _FIELDS.items():
                if line.startswith(tag):
                    row[name] = line[len(tag) :].strip(": ")
        spectra.append(row)
    frame = pl.DataFrame(spectra, infer_schema_length=None)
    schema = ["identifier", "mz", "theirs", "mass"]
    return frame.unique("identifier", maintain_order=True), pl.DataFrame(lines, schema=schema, orient="row")


def usable(frame: pl.DataFrame) -> pl.DataFrame:
    """Spectra whose formula and adduct make an ion, peaks sorted and scaled to base peak 1; prints what falls out."""
    kept, reasons = [], {}
    for formula, adduct in frame.select("formula", "adduct").iter_rows():
        try:
            parse_adduct(adduct or "").ion_formula(parse_formula(formula or ""))
            kept.append(True)
        except ChemistryError as error:
            kept.append(False)
            key = "no adduct stated" if not adduct else error.message.split(":")[0]
            reasons[key] = reasons.get(key, 0) + 1
    print(f"{sum(kept):,} of {len(frame):,} records have a formula and an adduct that make an ion; others: {reasons}")
    frame = frame.filter(pl.Series(kept) & (pl.col("mzs").list.len() > 0))
    flat = frame.select("identifier", "mzs", "intensities").explode("mzs", "intensities").sort("mzs")
    peaks = flat.group_by("identifier").agg("mzs", (pl.col("intensities") / pl.col("intensities").max()))
    return frame.drop("mzs", "intensities").join(peaks, on="identifier", maintain_order="left")


def spelled(text: str) -> tuple[str, str]:
    """MassBank's ion formula → ours: `C7H6[37]Cl[35]Cl+` → (`C7H6Cl2`, `37Cl`)."""
    heavy = []
    text = text.replace("(13C)", "[13]C")
    for mass, element, count in re.findall(r"\[(\d+)\]([A-Z][a-z]?)(\d*)", text):
        if mass not in ("12", "32", "35", "79"):
            heavy.append(f"{mass}{element}{count if count not in ('', '1') else ''}")
    try:
        return str(parse_formula(re.sub(r"\[\d+\]", "", text).strip("[]+-*"))), "".join(heavy)
    except ChemistryError:
        return text, "unreadable"


def agreement(frame: pl.DataFrame, lines: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """One row an annotated peak: `listed` (theirs is among our candidates), `same` (it is our best)."""
    names = lines["theirs"].unique()
    ours = [spelled(name) for name in names]
    legend = pl.DataFrame({"theirs": names, "formula": [f for f, _ in ours], "isotope": [i for _, i in ours]})
    keyed = found.with_columns(pl.col("mz").round(4).alias("key")).join(
        frame.select("identifier"), on="identifier", how="semi"
    )
    hit = keyed.group_by("identifier", "key", "formula", "isotope").agg(pl.col("is_best").any().alias("same"))
    best = (
        keyed.filter("is_best")
        .unique(["identifier", "key"])
        .select(
            "identifier",
            "key",
            pl.col("formula").alias("ours"),
            pl.col("isotope").alias("our_isotope"),
            "n_alternatives",
        )
    )
    context = frame.select("identifier", "source", pl.col("formula").alias("molecule"), "adduct")
    return (
        lines.with_columns(pl.col("mz").round(4).alias("key"))
        .join(legend, on="theirs")
        .join(context, on="identifier")
        .join(hit, on=["identifier", "key", "formula", "isotope"], how="left")
        .join(best, on=["identifier", "key"], how="left")
        .with_columns(pl.col("same").is_not_null().alias("listed"), pl.col("same").fill_null(False))
    )


def reasons(table: pl.DataFrame, ppm: float) -> pl.DataFrame:
    """Why their formula is not among our candidates, one row a peak."""
    out = []
    missing = table.filter(~pl.col("listed"))
    columns = ("formula", "isotope", "mz", "mass", "molecule", "adduct", "ours", "our_isotope")
    for theirs, isotope, mz, mass, molecule, adduct, ours, our_isotope in missing.select(columns).iter_rows():
        if isotope == "unreadable":
            out.append("their formula cannot be read")
            continue
        form = parse_adduct(adduct)
        ion, fragment = form.ion_formula(parse_formula(molecule)), parse_formula(theirs)
        beyond = {e for e, n in (ion - fragment).counts if n < 0}
        rdbe = 1 + sum(n * (VALENCE[e] - 2) / 2 for e, n in fragment.counts)
        if beyond:
            extra = ion + parse_formula("N2O")
            water = not any(n < 0 for _, n in (extra - fragment).counts)
            out.append("atoms the ion has not: N2, O or N2O added" if water else "atoms the ion has not: others")
        elif abs(mz - mass) / mass * 1e6 > ppm:
            out.append("further off than the tolerance")
        elif rdbe < -0.5:
            out.append("RDBE below -0.5")
        elif isotope:
            out.append("isotope: we have a monoisotopic formula" if ours and not our_isotope else "isotope: not seen")
        else:
            out.append("at the tolerance's edge")
    return missing.with_columns(pl.Series("reason", out, dtype=pl.String))


def loop(frame: pl.DataFrame, ppm: float, spectra: int) -> None:
    """Time the plain loop over all sub-formulae (one enumeration a spectrum, every peak tested) on small ions."""
    sample = frame.filter(pl.col("precursor").is_between(150, 300)).sample(spectra, seed=0)
    started = time.perf_counter()
    for formula, adduct, mzs in sample.select("formula", "adduct", "mzs").iter_rows():
        form = parse_adduct(adduct)
        ion = form.ion_formula(parse_formula(formula))
        for mz in mzs[:3]:
            enumerate_slowly(mz, ion, form.charge, mz * ppm * 1e-6, Rules())
    peaks = sample["mzs"].list.len().clip(upper_bound=3).sum()
    slow = (time.perf_counter() - started) / peaks
    started = time.perf_counter()
    annotate_frame(sample, ppm, rules=Rules(isotopes=False))
    fast = (time.perf_counter() - started) / sample["mzs"].list.len().sum()
    print(f"plain Python loop: {slow * 1e3:.2f} ms a peak; ours on the same {spectra} spectra (150 to 300 Da): "
          f"{fast * 1e6:.1f} µs; ratio {slow / fast:,.0f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path, default=ARCHIVE)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--ppm", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    everything, lines = read(options.archive, options.limit)
    frame = usable(everything)
    annotate_frame(frame.head(1))  # compile
    for threads in sorted({1, options.threads}):
        started = time.perf_counter()
        found = annotate_frame(frame, options.ppm, threads=threads)
        seconds = time.perf_counter() - started
        print(f"{len(frame):,} spectra, {frame['mzs'].list.len().sum():,} peaks, {len(found):,} candidates: "
              f"{seconds:.1f} s with {threads} thread(s)")  # fmt: skip
    share = explained(found, frame, 0.01)
    print(f"explained at {options.ppm} ppm, peaks >= 1 %: {share['peaks'].mean():.1%} of peaks, "
          f"{share['intensity'].mean():.1%} of intensity (means over spectra)")  # fmt: skip
    table = agreement(frame, lines, found)
    rates = [pl.len().alias("peaks"), pl.col("listed").mean().round(4), pl.col("same").mean().round(4)]
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True):
        print("agreement with PK$ANNOTATION", table.select(rates))
        print(table.group_by("source").agg(rates).sort("peaks", descending=True))
        print("isotope lines", table.filter(pl.col("isotope") != "").select(rates))
        several = table.filter(pl.col("listed") & (pl.col("n_alternatives") > 0) & (pl.col("isotope") == ""))
        print("several candidates", several.select(rates))
        why = reasons(table, options.ppm)
        athens = (pl.col("source") == "Athens_Univ").sum().alias("of them Athens_Univ")
        print(why.group_by("reason").agg(pl.len().alias("peaks"), athens).sort("peaks", descending=True))
    loop(frame.with_columns(precursor=pl.col("mzs").list.max()), options.ppm, 20)


if __name__ == "__main__":
    main()
