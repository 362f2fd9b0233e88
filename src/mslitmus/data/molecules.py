"""The molecules of the simulated data: well-known metabolites, drugs, pesticides, natural products and lipids.

Written by hand in `molecules.tsv` (group, name, SMILES without stereo). Every one parses, has its own InChIKey-14 and
weighs 80 to 900 Da.
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple


class Molecule(NamedTuple):
    """One molecule of the list; it unpacks as (name, smiles, group)."""

    name: str
    smiles: str
    group: str


def _read() -> tuple[Molecule, ...]:
    text = files(__package__).joinpath("molecules.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return tuple(Molecule(name, smiles, group) for group, name, smiles in rows)


_LIST = _read()
#: (name, SMILES), in the order of the file.
MOLECULES: tuple[tuple[str, str], ...] = tuple((m.name, m.smiles) for m in _LIST)
#: name → group.
GROUPS: dict[str, str] = {m.name: m.group for m in _LIST}
