"""The intensity law of the simulated spectra: what structure, adduct and energy make of each fragment.

Equations and constants are explained in docs/simulated-data.md. Energies are in units of about 1 eV, but nothing here
claims to be physics: the law is simple, known and depends on structure, so that a model can be held against it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chem.formula import parse_adduct
from ..chem.fragmenter import Fragments, fragment
from ..chem.molecule import parse

#: Raise it whenever a constant or an equation changes: saved simulated datasets of another version are made anew.
LAW_VERSION = 4

Floats = NDArray[np.float64]

_SINGLE = {
    "CC": 3.6, "CN": 3.1, "CO": 3.2, "CS": 2.9, "CF": 4.6, "CCl": 3.3, "BrC": 2.7, "CI": 2.1, "NN": 2.3, "NO": 2.2,
    "OO": 1.6, "SS": 2.3, "NS": 2.5, "OS": 3.0, "OP": 2.9, "PS": 2.9, "CP": 3.1, "NP": 2.6,
}  # fmt: skip
_CHARGE_SOFTNESS = 0.35  # of the sum over charge sites
_COMPETITION = 0.6  # of the charge between fragment and rest
_GAIN = 30.0  # of a broken fragment over the whole ion: the entropy of falling apart
_DECAY = 40.0  # of a fragment by its own weak bonds
_CHANNELS = 4.0  # exponent of that decay
_RADICAL = 0.06  # weight of odd-electron fragments
_SHIFT_WIDTH = 0.65  # hydrogens
_HIDDEN = 0.7  # sigma of the log-normal effect that no rule explains


@dataclass(frozen=True)
class IonModel:
    """The ions of one molecule with one adduct, everything but the energy worked out.

    `i` ions of `n` fragments with `b` bonds. `ions.intensities(temperature)` gives relative intensities.
    """

    mzs: Floats  # (i,)
    fragment: NDArray[np.int32]  # (i,)
    weight: Floats  # (i,): charge retention × hydrogen prior × hidden effect
    cost: Floats  # (n,): strength of the broken bonds
    inside: NDArray[np.float32]  # (n, b): 1 where the fragment holds the whole bond, weighted
    strength: Floats  # (b,)

    def intensities(self, temperature: float) -> Floats:
        """(i,): I = gain · exp(-cost / T) · (1 + decay · Σ_inside exp(-strength / T) / p)^-p · weight."""
        unstable = self.inside @ np.exp(-self.strength / temperature)
        formed = np.where(self.cost > 0, _GAIN, 1.0) * np.exp(-self.cost / temperature)
        per_fragment = formed * (1.0 + _DECAY * unstable / _CHANNELS) ** -_CHANNELS
        values: Floats = per_fragment[self.fragment] * self.weight
        return values


@dataclass(frozen=True)
class Structure:
    """What the law reads off a molecule once: fragments, bond strengths, charge sites."""

    fragments: Fragments
    atoms: NDArray[np.bool_]  # (n, a)
    ends: NDArray[np.int64]  # (b, 2)
    order: Floats  # (b,)
    ring: NDArray[np.bool_]  # (b,)
    strength: Floats  # (b,) in positive mode
    strength_negative: Floats  # (b,)
    basicity: Floats  # (a,) proton-affinity-like
    acidity: Floats  # (a,)
    sodium: Floats  # (a,)
    cation: Floats  # (a,) stability of a cation on this atom
    hetero: NDArray[np.bool_]  # (a,)


def read_structure(smiles: str, max_fragments: int = 20_000) -> Structure:
    """Everything the law needs of one molecule, about 5 ms."""
    mol = parse(smiles)
    atoms, bonds = list(mol.GetAtoms()), list(mol.GetBonds())
    fragments = fragment(mol, max_fragments=max_fragments)
    strength = np.array([_strength(b) for b in bonds], np.float64)
    return Structure(
        fragments,
        fragments.atom_sets(),
        np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in bonds], np.int64).reshape(-1, 2),
        np.array([b.GetBondTypeAsDouble() for b in bonds], np.float64),
        np.array([b.IsInRing() for b in bonds], bool),
        strength,
        np.maximum(strength - np.array([0.8 * _decarboxylates(b) for b in bonds]), 1.2),
        np.array([_basicity(a) for a in atoms]),
        np.array([_acidity(a) for a in atoms]),
        np.array([_sodium(a) for a in atoms]),
        np.array([_cation(a) for a in atoms]),
        np.array([a.GetSymbol() not in ("C", "H") for a in atoms], bool),
    )


def ion_model(structure: Structure, adduct: str, key: str) -> IonModel:
    """The ions of `structure` as this adduct. `key` names the molecule: it fixes the hidden effects."""
    s, ion = structure, parse_adduct(adduct)
    left, right = s.atoms[:, s.ends[:, 0]], s.atoms[:, s.ends[:, 1]]
    broken = left != right
    metal = any(e == "Na" for e, _ in ion.delta.counts)
    sites = s.acidity if ion.charge < 0 else s.sodium if metal else s.basicity
    strength = s.strength_negative if ion.charge < 0 else s.strength * (1.35 if metal else 1.0)
    cation = 0.0 if ion.charge < 0 or metal else _cut_cation(s, left, right, broken)
    retained = _retention(s, sites, cation)
    mzs, index, shift = s.fragments.ion_mzs(ion)
    prior = _shift_prior(s, left, broken, index, shift)
    weight = retained[index] * prior * _hidden_effects(s.fragments, index, shift, f"{key} {ion.name}")
    inside = (left & right).astype(np.float32) * np.where(s.ring, 0.5, 1.0).astype(np.float32)
    return IonModel(mzs, index, weight, broken @ strength, inside, strength)


def temperature(energy: float, precursor_mz: float, efficiency: float) -> float:
    """Effective temperature: heavier ions share the collision energy (eV) among more bonds."""
    return 0.3 + 0.021 * efficiency * energy * 500.0 / (precursor_mz + 150.0)


def _retention(s: Structure, sites: Floats, cation: Floats | float) -> Floats:
    """P(charge stays on the fragment) = sigmoid((A_fragment + cation - A_rest) / competition)."""
    weights = np.exp((sites - 8.0) / _CHARGE_SOFTNESS)
    here = s.atoms @ weights
    rest = np.maximum(weights.sum() - here, 1e-12)
    gain = _CHARGE_SOFTNESS * (np.log(np.maximum(here, 1e-12)) - np.log(rest)) + cation
    whole: Floats = np.where(s.fragments.cuts == 0, 1.0, 1.0 / (1.0 + np.exp(-gain / _COMPETITION)))
    return whole


def _cut_cation(s: Structure, left: Any, right: Any, broken: Any) -> Floats:
    """Best cation stability over the fragment's own ends of its broken bonds, (n,)."""
    at_left = np.where(broken & left, s.cation[s.ends[:, 0]], 0.0)
    at_right = np.where(broken & right, s.cation[s.ends[:, 1]], 0.0)
    best: Floats = np.maximum(at_left.max(1, initial=0.0), at_right.max(1, initial=0.0))
    return best


def _shift_prior(s: Structure, left: Any, broken: Any, index: Any, shift: Any) -> Floats:
    """Gaussian about the expected shift: a cut heteroatom takes a hydrogen, a cut carbon gives one; parity counts."""
    inner = np.where(left, s.hetero[s.ends[:, 0]], s.hetero[s.ends[:, 1]])
    outer = np.where(left, s.hetero[s.ends[:, 1]], s.hetero[s.ends[:, 0]])
    direction = np.where(inner & ~outer, 1.0, -1.0) * np.minimum(s.order, 2.0)
    expected = np.clip((broken * direction).sum(1), -3, 3)
    aromatic = s.fragments.breaks[:, 3] > 0
    order = s.fragments.broken_order.astype(np.int64)
    odd = ((shift - order[index]) % 2 != 0) & ~aromatic[index]
    spread = np.exp(-0.5 * ((shift - expected[index]) / _SHIFT_WIDTH) ** 2)
    whole = s.fragments.cuts[index] == 0
    prior: Floats = np.where(whole, np.where(shift == 0, 1.0, 0.003), spread * np.where(odd, _RADICAL, 1.0))
    return prior


def _hidden_effects(fragments: Fragments, index: Any, shift: Any, key: str) -> Floats:
    """Log-normal factor of every ion formula, fixed by the molecule and adduct, the same in every laboratory."""
    code = fragments.counts[index].astype(np.int64) @ (64 ** np.arange(fragments.counts.shape[1], dtype=np.int64))
    code = code * 512 + fragments.hydrogens[index] + shift
    formulae, inverse = np.unique(code, return_inverse=True)
    draws = np.random.default_rng(hashed(key)).normal(0.0, _HIDDEN, len(formulae))
    factors: Floats = np.exp(draws)[inverse]
    return factors


def hashed(text: str) -> int:
    """64-bit integer of a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _strength(bond: Any) -> float:
    a, b = bond.GetBeginAtom(), bond.GetEndAtom()
    if bond.GetIsAromatic():
        return 4.8
    value = _SINGLE.get("".join(sorted((a.GetSymbol(), b.GetSymbol()))), 3.2)
    order = float(bond.GetBondTypeAsDouble())
    if order > 1:
        return value + (4.0 if order > 2 else 2.5)
    if not _saturated(a) and not _saturated(b):
        value += 0.7
    for near, far in ((a, b), (b, a)):
        if _acyl(near) and far.GetSymbol() in ("N", "O"):
            value -= 0.4 + 0.7 * (not _saturated(near) and not _saturated(far))
        if near.GetSymbol() == "C" and _saturated(near):
            others = [n for n in near.GetNeighbors() if n.GetIdx() != far.GetIdx()]
            value -= 0.5 * any(not _saturated(n) for n in others)
            value -= 0.4 * any(n.GetSymbol() in ("N", "O") for n in others)
            value -= 0.3 * (far.GetSymbol() == "O" and far.GetDegree() == 1)
    terminal = min(a.GetDegree(), b.GetDegree()) == 1 and a.GetSymbol() == b.GetSymbol() == "C"
    value = (value + 0.5 * terminal) * (0.8 if bond.IsInRing() else 1.0)
    return max(1.2, float(value))


def _saturated(atom: Any) -> bool:
    return not atom.GetIsAromatic() and all(b.GetBondTypeAsDouble() == 1 for b in atom.GetBonds())


def _acyl(atom: Any) -> bool:
    return atom.GetSymbol() in ("C", "P", "S") and _double_to(atom, ("O", "S"))


def _double_to(atom: Any, symbols: tuple[str, ...]) -> bool:
    return any(b.GetBondTypeAsDouble() == 2 and b.GetOtherAtom(atom).GetSymbol() in symbols for b in atom.GetBonds())


def _decarboxylates(bond: Any) -> bool:
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    if any(a.GetSymbol() != "C" for a in ends):
        return False
    return any(_acyl(a) and any(_acidity(n) >= 9.5 for n in a.GetNeighbors()) for a in ends)


def _basicity(atom: Any) -> float:
    symbol, near = atom.GetSymbol(), list(atom.GetNeighbors())
    if symbol == "N":
        if atom.GetFormalCharge() > 0:
            return 5.0 if any(n.GetFormalCharge() < 0 for n in near) else 12.0 if not atom.GetTotalNumHs() else 9.5
        if atom.GetIsAromatic():
            return 7.8 if atom.GetTotalNumHs() or atom.GetDegree() == 3 else 9.3
        if any(_acyl(n) for n in near):
            return 7.5
        if any(_double_to(n, ("N",)) for n in near):
            return 10.0
        if any(n.GetIsAromatic() for n in near):
            return 8.8
        if not _saturated(atom):
            return 8.0 if any(b.GetBondTypeAsDouble() == 3 for b in atom.GetBonds()) else 9.2
        return 9.3 + 0.1 * float(atom.GetDegree())
    if symbol == "O":
        if _saturated(atom):
            return 7.7
        carbonyl = near[0] if near else atom
        return 8.8 if any(n.GetSymbol() == "N" for n in carbonyl.GetNeighbors()) else 8.1
    return {"S": 8.0, "P": 7.5, "C": 6.2 if _saturated(atom) else 7.5}.get(symbol, 5.5)


def _acidity(atom: Any) -> float:
    symbol, near = atom.GetSymbol(), list(atom.GetNeighbors())
    if not atom.GetTotalNumHs() and atom.GetFormalCharge() >= 0:
        return 3.0
    if symbol == "O":
        if any(n.GetSymbol() in ("S", "P") for n in near):
            return 11.0
        if any(_acyl(n) for n in near):
            return 10.0
        return 9.0 if any(not _saturated(n) for n in near) else 6.5
    if symbol == "N":
        return 8.0 if any(_acyl(n) for n in near) else 7.5 if atom.GetIsAromatic() else 5.5
    return {"S": 8.5, "C": 4.5}.get(symbol, 4.0)


def _sodium(atom: Any) -> float:
    symbol = atom.GetSymbol()
    if symbol == "O":
        return 8.0 if _saturated(atom) else 9.0
    return {"N": 8.0, "S": 7.5}.get(symbol, 5.0)


def _cation(atom: Any) -> float:
    if atom.GetSymbol() != "C":
        return 0.0
    near = list(atom.GetNeighbors())
    lone_pair = 0.9 * any(n.GetSymbol() in ("N", "O", "S") and _saturated(n) for n in near)
    acylium = 0.8 * _double_to(atom, ("O",))
    benzylic = 0.6 * (_saturated(atom) and any(not _saturated(n) and n.GetSymbol() == "C" for n in near))
    return max(lone_pair, acylium, benzylic) + 0.3 * (_saturated(atom) and atom.GetDegree() >= 3)
