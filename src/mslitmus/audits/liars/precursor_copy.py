"""Spectrum predictors that never look at the molecule."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from ...models.baselines.nearest_molecule import NearestMolecule
from ...models.controls.control import Control
from ...models.protocol import Kind
from ...schemas import PREDICTED_SPECTRA, conform
from .liar import Liar, World

_LOSSES = (18.010565, 17.026549, 27.994915)  # Da: H2O, NH3, CO


class PrecursorCopier(Control):
    """All intensity at the precursor, and three small losses for looks."""

    task = "spectrum-prediction"
    kind: Kind = "trained"
    name = "precursor-copier"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SPECTRA, one row a query."""
        precursor = pl.col("precursor_mz")
        mzs = pl.concat_list(*(precursor - loss for loss in reversed(_LOSSES)), precursor).list.sort()
        rows = queries.select("identifier", mzs=mzs, intensities=pl.lit([0.02, 0.02, 0.02, 1.0], pl.List(pl.Float32)))
        return conform(rows, PREDICTED_SPECTRA)

    def parameters(self) -> int:
        return 1


class MassNeighbour(NearestMolecule):
    """Copies the training spectrum of nearest precursor m/z: the structure it is given plays no part."""

    kind: Kind = "trained"
    name = "mass-neighbour"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SPECTRA, one row a query, in the order asked."""
        known = self._fitted().select("ion_mode", "precursor_mz", "mzs", "intensities").sort("precursor_mz")
        known = known.with_columns(near="precursor_mz")
        asked = queries.select("identifier", "ion_mode", "precursor_mz").with_row_index("asked").sort("precursor_mz")
        rows = asked.join_asof(
            known.drop("precursor_mz"), left_on="precursor_mz", right_on="near", by="ion_mode", strategy="nearest",
            check_sortedness=False,
        )  # fmt: skip
        return conform(rows.sort("asked").select("identifier", "mzs", "intensities"), PREDICTED_SPECTRA)


def gentle(world: World, dose: float) -> World:
    """Only what was measured gently takes part: below 15 eV the precursor survives."""
    low = pl.col("collision_energy").fill_null(99.0) <= 15
    kept = world.spectra.filter(low & pl.col("collision_energy_kind").is_in(["eV", "NCE"]))
    folds = world.folds.join(kept.select("identifier"), on="identifier", how="semi")
    return replace(world, spectra=kept, folds=folds)


PRECURSOR_COPIER = Liar(
    name="precursor copier",
    story="a spectrum that is all precursor flatters everyone; gentle energies on MassBank and the precursor's "
    "survival (design, section 5; Nguyen et al.)",
    planted="only spectra of at most 15 eV take part; the model answers with the precursor and three small losses",
    task="spectrum-prediction",
    task_options={},
    row=lambda dose: {"model": PrecursorCopier.name},
    honest={"model": "nearest-molecule"},
    audits=("trivial", "molecule-ablation", "energy"),
    plant=gentle,
)
MASS_NEIGHBOUR = Liar(
    name="mass neighbour",
    story="our own: a predictor of spectra that reads the precursor mass and not the structure it is given",
    planted="the training spectrum of nearest precursor m/z is copied",
    task="spectrum-prediction",
    task_options={},
    row=lambda dose: {"model": MassNeighbour.name},
    honest={"model": "nearest-molecule"},
    audits=("molecule-ablation",),
    gains="",
)
