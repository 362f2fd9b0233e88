"""A small self-made world: real molecules, spectra that follow from their formula and energy by a simple law."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mslitmus.chem.molecule import identify
from mslitmus.schemas import SPECTRA, conform

SMILES = (
    "CCO", "CCCO", "CCCCO", "CC(=O)O", "CCC(=O)O", "CCN", "CCCN", "c1ccccc1", "Cc1ccccc1", "Oc1ccccc1",
    "Nc1ccccc1", "O=C(O)c1ccccc1", "CC(=O)Nc1ccc(O)cc1", "CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "NCC(=O)O", "CC(N)C(=O)O", "NC(Cc1ccccc1)C(=O)O", "NC(CO)C(=O)O", "OCC1OC(O)C(O)C(O)C1O",
)  # fmt: skip


def spectra(molecules=SMILES, energies=(10.0, 40.0, None), seed=0) -> pl.DataFrame:
    """SPECTRA frame: each molecule × energy, peaks at the precursor and at the losses of H2O, CO and 2 H2O."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, smiles in enumerate(molecules):
        who = identify(smiles)
        for energy in energies:
            adduct = "[M+H]+" if (number + rng.integers(2)) % 3 else "[M-H]-"
            sign = 1 if adduct.endswith("+") else -1
            precursor = who.exact_mass + sign * 1.00727646
            strength = (energy or 20.0) / 50.0
            peaks = {precursor - 46.00548: strength**2, precursor - 27.99491: strength * 0.7,
                     precursor - 18.01056: strength, precursor: 1 - 0.8 * strength}  # fmt: skip
            kept = sorted((m, i) for m, i in peaks.items() if m > 15)
            top = max(i for _, i in kept)
            rows.append(
                {
                    "identifier": f"s{len(rows):04d}", "mzs": [m for m, _ in kept],
                    "intensities": [i / top for _, i in kept], "precursor_mz": precursor, "charge": sign, "ms_level": 2,
                    "adduct": adduct, "ion_mode": "positive" if sign > 0 else "negative",
                    "instrument_type": ("Orbitrap", "QTOF", None)[number % 3], "fragmentation": "HCD",
                    "collision_energy": energy, "collision_energy_kind": "eV" if energy else None,
                    "smiles": who.smiles, "inchikey14": who.inchikey14, "formula": who.formula,
                    "source": "made up", "license": "MIT", "flags": ["simulated"],
                }
            )  # fmt: skip
    return conform(pl.DataFrame(rows, infer_schema_length=None), SPECTRA)


VISIBLE = ["identifier", "smiles", "inchikey14", "formula", "adduct", "charge", "ion_mode", "precursor_mz",
           "instrument_type", "fragmentation", "collision_energy", "collision_energy_kind"]  # fmt: skip


@pytest.fixture(scope="session")
def world() -> dict[str, pl.DataFrame]:
    """train, val, test (new molecules each) and `queries` (test, visible columns only)."""
    train, val, test = (
        spectra(SMILES[2:14]),
        spectra(SMILES[14:17], seed=1),
        spectra((*SMILES[:2], *SMILES[17:]), seed=2),
    )
    rename = pl.concat_str(pl.lit("v"), "identifier").alias("identifier")
    test = test.with_columns(pl.concat_str(pl.lit("t"), "identifier").alias("identifier"))
    return {"train": train, "val": val.with_columns(rename), "test": test, "queries": test.select(VISIBLE)}


def pool_of(smiles: str, size: int = 8) -> list[tuple[str, str]]:
    """(InChIKey-14, SMILES) of a molecule and of others of `SMILES`, in the order of a hash of molecule and member."""
    own = identify(smiles)
    others = [identify(other) for other in SMILES]

    def order(member) -> str:
        return sha256(member.inchikey14.encode()).hexdigest()

    def near(member) -> tuple[bool, str]:
        return member.inchikey14 != own.inchikey14, sha256((own.inchikey14 + member.inchikey14).encode()).hexdigest()

    return [(m.inchikey14, m.smiles) for m in sorted(sorted(others, key=near)[:size], key=order)]


def with_pools(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with `candidates` and `candidate_smiles` of every row's molecule."""
    pools = {smiles: pool_of(smiles) for smiles in frame["smiles"].unique()}
    return frame.with_columns(
        candidates=pl.Series([[key for key, _ in pools[s]] for s in frame["smiles"]], dtype=pl.List(pl.String)),
        candidate_smiles=pl.Series([[text for _, text in pools[s]] for s in frame["smiles"]], dtype=pl.List(pl.String)),
    )


@pytest.fixture(scope="session")
def decoder(tmp_path_factory) -> Path:
    """The folder of a tiny generator as `mslitmus pretrain decoder` leaves it, after two epochs of few molecules."""
    pytest.importorskip("torch")
    from mslitmus import train
    from mslitmus.data.molecules import MOLECULES
    from mslitmus.models.protocol import FitContext
    from mslitmus.provenance import file_hash, write_json
    from mslitmus.train.pretrain.decoder import DecoderOptions, DecoderStage

    folder = tmp_path_factory.mktemp("decoder")
    rows = pl.DataFrame(MOLECULES[::8], schema=["identifier", "smiles"], orient="row")
    options = {"model": {"network": {"size": "tiny"}}, "training": {"epochs": 2, "batch_size": 32}}
    stage = DecoderStage(DecoderOptions(**options))
    train.fit(stage, rows, rows.head(8), FitContext(folder / "decoder", device="cpu", threads=1))
    stage.save(folder)
    record = {"asked": {"method": "decoder"}, "weights_sha256": file_hash(folder / "weights.pt")}
    write_json(folder / "pretraining.json", record)
    return folder


MEASURED = ["identifier", "mzs", "intensities", *VISIBLE[4:]]


@pytest.fixture
def ranking(world) -> dict[str, pl.DataFrame]:
    """The world as the task retrieval shows it: train and val with pools, queries and truth of the test fold."""
    train, val, test = (with_pools(world[fold]) for fold in ("train", "val", "test"))
    shown = ["candidates", "candidate_smiles"]
    return {
        "train": train, "val": val, "test": test, "queries": test.select(*MEASURED, *shown),
        "truth": test.select("identifier", "inchikey14", "smiles", *shown),
    }  # fmt: skip
