"""What a user asks of a spectrum predictor: structures and conditions as text → queries, or why a row can be none.

The precursor m/z follows from formula and adduct. A number without unit is an energy in eV; a normalised one is written
`30nce` and converted as everywhere (`spectra.energy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from ...chem.formula import Adduct, parse_adduct, parse_formula
from ...chem.molecule import Identity, identify
from ...errors import ChemistryError, ConfigError, MslitmusError
from ...schemas import INSTRUMENT_TYPES, ION_MODES
from ...spectra.energy import with_energies
from ...spectra.instruments import classify

#: Columns of the queries, `asked` numbering them across a stream; the task's visible columns are among them.
QUERIES = {
    "asked": pl.Int64(),
    "identifier": pl.String(),
    "smiles": pl.String(),
    "inchikey14": pl.String(),
    "formula": pl.String(),
    "adduct": pl.String(),
    "charge": pl.Int8(),
    "ion_mode": pl.String(),
    "precursor_mz": pl.Float64(),
    "parent_mass": pl.Float64(),
    "instrument_type": pl.String(),
    "fragmentation": pl.String(),
    "collision_energy": pl.Float32(),
    "collision_energy_kind": pl.String(),
    "collision_energy_origin": pl.String(),
    "collision_energy_steps": pl.List(pl.Float32()),
    "collision_energy_raw": pl.String(),
}


#: Identities of the last few structures: a list asks one molecule under several conditions in a row, then never again.
_identify = lru_cache(maxsize=1024)(identify.__wrapped__)


@dataclass(frozen=True)
class Question:
    """One row as the user wrote it; what is None takes the default. `where` names it in messages (`file:line`)."""

    smiles: str
    where: str
    identifier: str
    adduct: str | None = None
    energy: str | None = None
    instrument: str | None = None
    ion_mode: str | None = None


@dataclass(frozen=True)
class Defaults:
    """Conditions of rows that state none. `energy` and `instrument` None: unknown to the model, a state it learned."""

    adduct: str = "[M+H]+"
    energy: str | None = None
    instrument: str | None = None

    def check(self) -> None:
        """Raises ConfigError for a default that can be read in no row."""
        try:
            parse_adduct(self.adduct)
            _instrument(self.instrument)
            if self.energy is not None and _energies([self.energy], [200.0], [1], [None]).item(0, "bad"):
                raise _no_energy(self.energy)
        except ChemistryError as error:
            raise ConfigError(error.message, remedy=error.remedy) from error


def queries(
    questions: Sequence[Question], defaults: Defaults, first: int = 0
) -> tuple[pl.DataFrame, list[MslitmusError]]:
    """(QUERIES frame, errors of the rows that are none), in the order asked; `asked` counts from `first`.

    An error says in `where` which row it is. A row that states a negative ion mode and no adduct is asked as [M-H]-.
    """
    rows, texts = [], []
    problems: list[MslitmusError] = []
    for number, question in enumerate(questions, first):
        try:
            row = _row(question, defaults)
        except MslitmusError as error:
            problems.append(_at(error, question))
            continue
        rows.append({"asked": number, **row})
        texts.append((question, question.energy or defaults.energy))
    known = {name: dtype for name, dtype in QUERIES.items() if not name.startswith(("collision", "fragm"))}
    frame = pl.DataFrame(rows, schema=known, orient="row")
    energies = _energies(
        [text for _, text in texts],
        frame["precursor_mz"].to_list(),
        frame["charge"].to_list(),
        frame["instrument_type"].to_list(),
    )
    for (question, text), bad in zip(texts, energies["bad"].to_list(), strict=True):
        if bad:
            problems.append(_at(_no_energy(text or ""), question))
    made = pl.concat([frame, energies], how="horizontal").filter(~pl.col("bad"))
    return made.select(pl.col(name).cast(dtype) for name, dtype in QUERIES.items()), problems


def _row(question: Question, defaults: Defaults) -> dict[str, object]:
    mode = (question.ion_mode or "").strip().lower() or None
    if mode is not None and mode not in ION_MODES:
        raise ChemistryError(f"ion mode {mode!r}", remedy=f"write {' or '.join(ION_MODES)}, or leave it empty")
    usual = defaults.adduct
    if mode is not None and parse_adduct(usual).ion_mode != mode:
        usual = {"positive": "[M+H]+", "negative": "[M-H]-"}[mode]
    adduct = parse_adduct(question.adduct or usual)
    if mode is not None and adduct.ion_mode != mode:
        raise ChemistryError(f"{adduct.name} is no ion of {mode} mode", remedy="correct the adduct or the ion mode")
    who = _identify(question.smiles)
    return {
        "identifier": question.identifier,
        "smiles": who.smiles,
        "inchikey14": who.inchikey14,
        "formula": who.formula,
        "adduct": adduct.name,
        "charge": adduct.charge,
        "ion_mode": adduct.ion_mode,
        "precursor_mz": ion_mz(who, adduct),
        "parent_mass": who.exact_mass,
        "instrument_type": _instrument(question.instrument or defaults.instrument),
    }


def ion_mz(who: Identity, adduct: Adduct) -> float:
    """m/z of the ion (Da). Raises ChemistryError for a mixture, an adduct that takes what the molecule lacks, or one
    whose protons do not add up to its charge because the structure is drawn with a charge of its own."""
    if "." in who.smiles:
        raise ChemistryError(
            f"{who.smiles.count('.') + 1} parts in one structure: {who.smiles}", remedy="give the part that is measured"
        )
    formula = parse_formula(who.formula)
    adduct.ion_formula(formula)
    if who.charge and all(element == "H" for element, _ in adduct.delta.counts):
        found = adduct.molecules * who.charge + adduct.delta["H"]
        if found != adduct.charge:
            remedy = "draw it neutral, or use [M]+ (or [M]-) where its own charge is what is measured"
            raise ChemistryError(
                f"a structure of charge {who.charge:+d} as {adduct.name} has charge {found:+d}", remedy=remedy
            )
    mz = adduct.mz(formula.mass)
    if mz <= 0:
        raise ChemistryError(f"{adduct.name} of {formula} has no mass left", remedy="check adduct and structure")
    return mz


def _instrument(text: str | None) -> str | None:
    """Canonical type of a type or model name; None where nothing is said. Raises ChemistryError for what is neither."""
    if text is None or not text.strip():
        return None
    known = {name.lower(): name for name in INSTRUMENT_TYPES}
    found = known.get(text.strip().lower()) or classify(None, text).type
    if found is None:
        remedy = f"write one of {', '.join(INSTRUMENT_TYPES)}, or leave it empty"
        raise ChemistryError(f"instrument {text!r} is not known", remedy=remedy)
    return found


def _energies(
    texts: Sequence[str | None], mzs: Sequence[float], charges: Sequence[int], types: Sequence[str | None]
) -> pl.DataFrame:
    """The schema's energy columns, `fragmentation` and `bad`: a text that gives no energy comparable with eV."""
    frame = pl.DataFrame(
        {
            "collision_energy_raw": pl.Series(texts, dtype=pl.String),
            "precursor_mz": pl.Series(mzs, dtype=pl.Float64),
            "charge": pl.Series(charges, dtype=pl.Int8),
            "instrument_type": pl.Series(types, dtype=pl.String),
        }
    )
    raw = pl.col("collision_energy_raw").str.strip_chars()
    raw = pl.when(raw != "").then(raw)
    nce = raw.str.to_lowercase().str.contains("nce")
    # a normalised energy is one of an HCD cell; a bare number is in eV
    frame = frame.with_columns(
        raw.alias("collision_energy_raw"),
        pl.when(nce).then(pl.lit("HCD")).alias("fragmentation"),
        collision_energy_unit=pl.lit("eV"),
    )
    read = with_energies(frame) if frame.height else with_energies(frame.clear())
    stated = pl.col("collision_energy_raw").is_not_null()
    useless = pl.col("collision_energy").is_null() | pl.col("collision_energy_kind").is_in(["unitless", "resonant-%"])
    kept = ["fragmentation", *(name for name in QUERIES if name.startswith("collision"))]
    return read.select(*kept, bad=(stated & useless.fill_null(True)))


def _no_energy(text: str) -> ChemistryError:
    return ChemistryError(f"energy {text!r} is not read", remedy="write eV (20, 20eV), or a normalised one: 30nce")


def _at(error: MslitmusError, question: Question) -> MslitmusError:
    return type(error)(error.message, where=question.where, remedy=error.remedy)
