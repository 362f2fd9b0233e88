"""A small simulated source for liars: 42 molecules, two energies, pools of six made by edits (quick, not clean)."""

from __future__ import annotations

from random import Random

import polars as pl

from mslitmus.audits.liars.structure_prior import walk
from mslitmus.data.candidates import CandidateSet
from mslitmus.data.molecules import MOLECULES
from mslitmus.data.simulate import simulate
from mslitmus.schemas import CANDIDATES
from mslitmus.studies.liars import Source


def source(step: int = 14, size: int = 6) -> Source:
    spectra = simulate(molecules=MOLECULES[::step], energies=(10, 40), replicate_share=0.3)
    rows = []
    for key, smiles, formula in spectra.select("inchikey14", "smiles", "formula").unique().sort("inchikey14").rows():
        random, found = Random(key), {key: smiles}
        rows.append((key, key, smiles, formula, "dataset"))
        for _ in range(4 * size):
            made = walk(random.choice(list(found.values())), random, steps=2)
            if made is not None and made.inchikey14 not in found and len(found) < size:
                found[made.inchikey14] = made.smiles
                rows.append((key, made.inchikey14, made.smiles, made.formula, "decoy-edited"))
    pools = pl.DataFrame(rows, schema=dict(CANDIDATES), orient="row")
    return Source("simulated", spectra, {"formula": CandidateSet.make("walks", "formula", {}, pools)})
