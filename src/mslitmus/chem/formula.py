"""Formulae and adducts: parse, weigh, combine. Masses in Da; ions lose or gain electron mass."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from ..errors import ChemistryError

ELECTRON = 0.000548579909065
PROTON = 1.007276466621

#: Monoisotopic masses (AME2020 / IUPAC), the elements of small-molecule MS, in Hill order after C and H.
MASSES = {
    "C": 12.0,
    "H": 1.00782503223,
    "Ag": 106.9050916,
    "Al": 26.98153853,
    "As": 74.92159457,
    "Au": 196.96656879,
    "B": 11.00930536,
    "Ba": 137.905247,
    "Bi": 208.9803991,
    "Br": 78.9183376,
    "Ca": 39.962590863,
    "Cd": 113.90336509,
    "Cl": 34.968852682,
    "Co": 58.93319429,
    "Cr": 51.94050623,
    "Cs": 132.905451961,
    "Cu": 62.92959772,
    "D": 2.01410177812,
    "F": 18.99840316273,
    "Fe": 55.93493633,
    "Ga": 68.9255735,
    "Ge": 73.921177761,
    "Gd": 157.9241123,
    "Hg": 201.9706434,
    "I": 126.9044719,
    "K": 38.9637064864,
    "Li": 7.0160034366,
    "Mg": 23.985041697,
    "Mn": 54.93804391,
    "Mo": 97.90540482,
    "N": 14.00307400443,
    "Na": 22.989769282,
    "Ni": 57.93534241,
    "O": 15.99491461957,
    "P": 30.97376199842,
    "Pb": 207.9766525,
    "Pd": 105.9034804,
    "Pt": 194.9647917,
    "Ru": 101.9043441,
    "S": 31.9720711744,
    "Sb": 120.903812,
    "Se": 79.9165218,
    "Si": 27.97692653465,
    "Sn": 119.90220163,
    "Te": 129.906222748,
    "Ti": 47.94794198,
    "Tl": 204.9744278,
    "V": 50.94395704,
    "W": 183.95093092,
    "Zn": 63.92914201,
    "Zr": 89.9046977,
}
_TOKEN = re.compile(r"([A-Z][a-z]?)(\d*)")
_BRACKETS = re.compile(r"^\[(.+)\](\d*[+-]+|[+-]\d+)?$")  # MassBank's way to write an ion


@dataclass(frozen=True)
class Formula:
    """Element counts in Hill order (C, H, then alphabetical); counts may be negative in a difference."""

    counts: tuple[tuple[str, int], ...]

    @staticmethod
    def of(counts: Iterable[tuple[str, int]]) -> Formula:
        total: dict[str, int] = {}
        for element, count in counts:
            total[element] = total.get(element, 0) + count
        carbon = total.get("C", 0) != 0

        def hill(element: str) -> tuple[int, str]:
            return ({"C": 0, "H": 1}.get(element, 2) if carbon else 2, element)

        return Formula(tuple((e, total[e]) for e in sorted(total, key=hill) if total[e] != 0))

    def __add__(self, other: Formula) -> Formula:
        return Formula.of(self.counts + other.counts)

    def __sub__(self, other: Formula) -> Formula:
        return Formula.of(self.counts + tuple((e, -n) for e, n in other.counts))

    def __mul__(self, times: int) -> Formula:
        return Formula.of((e, n * times) for e, n in self.counts)

    def __str__(self) -> str:
        return "".join(f"{e}{n if n != 1 else ''}" for e, n in self.counts)

    def __getitem__(self, element: str) -> int:
        return dict(self.counts).get(element, 0)

    @cached_property
    def mass(self) -> float:
        """Monoisotopic mass of the neutral, Da."""
        return sum(MASSES[e] * n for e, n in self.counts)


@lru_cache(maxsize=65536)
def parse_formula(text: str) -> Formula:
    """`C6H12O6` → Formula; parts joined by `.` or `*` add up, and the charge of an ion (`C5H14NO+`, `[C5H14NO]+`,
    `[C30H60N3O3]3+`) is left aside. Raises ChemistryError on anything else."""
    counts: list[tuple[str, int]] = []
    ion = _BRACKETS.match(text.strip())
    for part in re.split(r"[.*·]", ion.group(1) if ion else text.strip().rstrip("+-")):
        position, factor = 0, 1
        if leading := re.match(r"\d+", part):
            factor, position = int(leading.group()), leading.end()
        while position < len(part):
            token = _TOKEN.match(part, position)
            if token is None or token.group(1) not in MASSES:
                raise ChemistryError(
                    f"not a formula: {text!r}", remedy="write element symbols and counts, e.g. C6H12O6"
                )
            counts.append((token.group(1), factor * int(token.group(2) or 1)))
            position = token.end()
        if part.isdigit():  # C1.5 is no C and 5 of nothing
            raise ChemistryError(f"not a formula: {text!r}", remedy="write element symbols and whole counts")
    if not Formula.of(counts).counts:
        raise ChemistryError("an empty formula", remedy="write element symbols and counts, e.g. C6H12O6")
    return Formula.of(counts)


@dataclass(frozen=True)
class Adduct:
    """`[nM + delta]^charge`. `delta` is the formula added to n molecules, electrons aside."""

    name: str
    molecules: int
    delta: Formula
    charge: int

    @property
    def ion_mode(self) -> str:
        return "positive" if self.charge > 0 else "negative"

    def mz(self, neutral_mass: float) -> float:
        """m/z of the ion of a molecule with this monoisotopic mass."""
        return (self.molecules * neutral_mass + self.delta.mass - self.charge * ELECTRON) / abs(self.charge)

    def neutral_mass(self, mz: float) -> float:
        """Inverse of `mz`."""
        return (mz * abs(self.charge) - self.delta.mass + self.charge * ELECTRON) / self.molecules

    def ion_formula(self, molecule: Formula) -> Formula:
        """Formula of the ion (charge not shown). Raises ChemistryError if the molecule lacks what is lost."""
        ion = molecule * self.molecules + self.delta
        if any(n < 0 for _, n in ion.counts):
            raise ChemistryError(f"{self.name} takes more atoms than {molecule} has", remedy="check adduct and formula")
        return ion


# Spellings of the same group, read off MassBank, GNPS, MoNA and NIST exports.
_GROUPS = {
    "FA": "CH2O2", "HAc": "C2H4O2", "AcOH": "C2H4O2", "Hac": "C2H4O2", "CH3COOH": "C2H4O2", "CH3COO": "C2H3O2",
    "HCOO": "CHO2", "HOO": "CHO2", "HCO2": "CHO2", "HCOOH": "CH2O2", "H2CO2": "CH2O2", "CHOO": "CHO2", "OAc": "C2H3O2",
    "ACN": "C2H3N", "MeOH": "CH4O", "CH3OH": "CH4O", "DMSO": "C2H6OS", "IsoProp": "C3H8O", "TFA": "C2HF3O2",
    "Hex": "C6H10O5", "CAT": "", "Cat": "", "e": "",
}  # fmt: skip
# What carries the charge where a spelling leaves it out, e.g. `M+FA-H`.
_CARRIERS = {"H": 1, "Na": 1, "K": 1, "Li": 1, "Ag": 1, "Cs": 1, "H4N": 1, "Cl": -1, "Br": -1, "I": -1, "F": -1,
             "CHO2": -1, "C2H3O2": -1}  # fmt: skip
_ADDUCT = re.compile(r"^\[(\d*)M((?:[+-][A-Za-z0-9]+)*)\]?(\d*)([+-]*)\*?$")
_PART = re.compile(r"([+-])(\d*)([A-Za-z][A-Za-z0-9]*)")


@lru_cache(maxsize=4096)
def parse_adduct(text: str) -> Adduct:
    """Any spelling of an adduct → Adduct with its canonical name: `M+H`, `[M+H]1+`, `[M+CH3COOH-H]-` → `[M+C2H3O2]-`.

    Charge is read from the sign after the bracket, else from well-known charge carriers (H, Na, K, NH4, Cl, …).
    One ion has one name: neutral gains, then protons and metals, then losses (`[M+CH4O+H]+`, `[M-H2O+H]+` is written
    `[M+H-H2O]+`); an anion taken up whole stays whole (`[M+CHO2]-`, `[M+OH]-`).
    Raises ChemistryError if the text is no adduct, or its charge cannot be told.
    """
    raw = re.sub(r"[\s()•.]", "", text).replace("−", "-").replace("–", "-")
    if raw and not raw.startswith("["):
        bare = re.match(r"^(\d*M(?:[+-][A-Za-z0-9]+)*)(\d*[+-]*)$", raw)
        raw = f"[{bare.group(1)}]{bare.group(2)}" if bare else raw
    match = _ADDUCT.match(raw)
    if match is None:
        raise ChemistryError(f"not an adduct: {text!r}", remedy="write it as [M+H]+, [M-H]-, [2M+Na]+, [M+2H]2+, …")
    molecules, body, number, sign = match.groups()
    parts = [(s, int(n or 1), _group(name, text)) for s, n, name in _PART.findall(body)]
    delta = Formula.of((e, (n * k) * (1 if s == "+" else -1)) for s, k, f in parts for e, n in f.counts)
    charge = _charge(number, sign, parts, text)
    count = int(molecules or 1)
    if count == 0:
        raise ChemistryError(f"no molecule in adduct {text!r}", remedy="write it as [M+H]+, [2M+Na]+, …")
    return Adduct(_canonical(count, delta, charge), count, delta, charge)


def _group(name: str, text: str) -> Formula:
    spelled = _GROUPS.get(name, name)
    try:
        return parse_formula(spelled) if spelled else Formula(())
    except ChemistryError as error:
        raise ChemistryError(
            f"not an adduct: {text!r} ({name!r} is no formula)", remedy="write it as [M+H]+"
        ) from error


def _charge(number: str, sign: str, parts: list[tuple[str, int, Formula]], text: str) -> int:
    if sign:
        size = int(number) if number else len(sign)
        if len(set(sign)) > 1 or size == 0:
            raise ChemistryError(f"impossible charge in adduct {text!r}", remedy="write one sign, e.g. [M+2H]2+")
        return size if sign[0] == "+" else -size
    charge = sum((1 if s == "+" else -1) * k * _CARRIERS.get(str(f), 0) for s, k, f in parts)
    if charge:
        return charge
    raise ChemistryError(
        f"the charge of adduct {text!r} is not stated", remedy="write the charge, e.g. [M+H]+ or [M-H]-"
    )


_METALS = ("Na", "K", "Li", "Ag", "Cs")
_HALOGENS = ("Cl", "Br", "I", "F")
_ODD = ("H", "D", "N", "P", "B", *_METALS, *_HALOGENS)  # odd valence: an odd number of them makes a radical
_AMMONIUM = Formula((("H", 4), ("N", 1)))
_NEUTRALS = ("H", "H2O", "NH3", "CO2", "CO", "HF", "HCl", "C2H3N")
# Hill order is no chemist's spelling of these.
_USUAL = {"HO": "OH", "O3S": "SO3", "O2S": "SO2", "CHN": "HCN", "H3O4P": "H3PO4", "HO3P": "HPO3", "H2O4S": "H2SO4",
          "HO4S": "HSO4"}  # fmt: skip


@lru_cache(maxsize=4096)
def _canonical(molecules: int, delta: Formula, charge: int) -> str:
    """The one name of an ion: named for the usual carriers plus neutral gain or loss where that reads so."""
    count = str(molecules) if molecules > 1 else ""
    size = str(abs(charge)) if abs(charge) > 1 else ""
    return f"[{count}M{_body(delta, charge)}]{size}{'+' if charge > 0 else '-'}"


def _body(delta: Formula, charge: int) -> str:
    """Gains, protons and metals, then losses: +CH4O+H, +H-H2O, +Na-2H, -H-CO2-2HF, +OH."""
    if str(delta) == "CH3" or str(delta * -1) == "CH3":  # methylation is no gain of CH2, nor its reverse a loss
        return "+CH3" if delta["C"] > 0 else "-CH3"
    ammonium = delta["N"] if charge > 0 else 0
    if 0 < ammonium <= charge and not _gains(delta - _AMMONIUM * ammonium - _protons(charge - ammonium)).counts:
        carriers, rest, protons = [("NH4", ammonium)], delta - _AMMONIUM * ammonium, charge - ammonium
    else:
        carriers = [(e, n) for e, n in delta.counts if n > 0 and (e in _METALS or (e in _HALOGENS and n <= -charge))]
        rest = delta - Formula.of(carriers)
        protons = charge - sum(n * _CARRIERS[e] for e, n in carriers)
    neutral = rest - _protons(protons)
    gains, losses = _gains(neutral), _gains(neutral * -1)
    radical = sum(n for e, n in gains.counts if e in _ODD) % 2 == 1
    anion = protons == -1 and rest == _gains(rest) and rest.counts  # taken up whole: +OH, +CHO2, +NO3
    odd = protons > 0 and radical  # +H2O of a radical cation is no +H and OH
    bare = bool(protons) and bool(neutral.counts) and all(e == "H" for e, _ in neutral.counts)  # -2H
    if anion or odd or bare or (protons and gains.counts and losses.counts):
        protons, gains, losses = 0, _gains(rest), _gains(rest * -1)
    hydrogen = [("H", protons)] if protons else []
    charged = hydrogen + carriers if protons > 0 else carriers + hydrogen
    middle = "".join(f"{'+' if n > 0 else '-'}{abs(n) if abs(n) > 1 else ''}{e}" for e, n in charged)
    return _spell("+", gains) + middle + _spell("-", losses)


def _gains(delta: Formula) -> Formula:
    return Formula.of((e, n) for e, n in delta.counts if n > 0)


def _protons(count: int) -> Formula:
    return Formula.of([("H", count)])


def _spell(sign: str, group: Formula) -> str:
    """`H4O2` → `+2H2O`, `CH2F2O2` → `+CO2+2HF`; what is no multiple or sum of usual neutrals stays one formula."""
    if not group.counts:
        return ""
    units = [(name, _times(group, parse_formula(name))) for name in _NEUTRALS]
    found = [(name, times) for name, times in units if times]
    if not found:
        found = _sum_of_neutrals(group) or [(_USUAL.get(str(group), str(group)), 1)]
    return "".join(f"{sign}{times if times > 1 else ''}{name}" for name, times in found)


def _times(group: Formula, unit: Formula) -> int:
    element, count = unit.counts[0]
    times = group[element] // count
    return times if times and unit * times == group else 0


def _sum_of_neutrals(group: Formula) -> list[tuple[str, int]]:
    """The one way to make up the group from CO2, H2O, NH3, HF, HCl, HBr, HI with all its C as CO2; else nothing."""
    parts = {"CO2": group["C"], "NH3": group["N"], **{f"H{e}": group[e] for e in ("F", "Cl", "Br", "I")}}
    parts["H2O"] = group["O"] - 2 * group["C"]
    made = Formula.of((e, n * k) for name, k in parts.items() for e, n in parse_formula(name).counts)
    if made != group or min(parts.values()) < 0:
        return []
    return [(name, parts[name]) for name in ("H2O", "NH3", "CO2", "HF", "HCl", "HBr", "HI") if parts[name]]
