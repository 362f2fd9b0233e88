"""fingerprint-to-smiles: a fingerprint predicted from the spectrum, then a decoder that was trained on molecules alone.

    spectrum → fingerprint model → 2,048 probabilities → cut, folded to the decoder's bits ┐
                                                                         formula → decoder → SMILES

The decoder is that of `mslitmus pretrain decoder` and takes no further step: its inputs are those of its pretraining,
a fingerprint that is told and a formula, without peaks or conditions. The fingerprint model is any of the task
`fingerprint`, fitted here on the training fold, so no molecule that is asked about is known to it. A query for which it
predicts no bit is written by its formula alone, a state that the decoder knows as well.

Source: "One Small Step with Fingerprints, One Giant Leap for De Novo Molecule Generation from Mass Spectra"
(arXiv 2508.04180): MIST predicts, its probabilities are cut, MolForge writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field

from ...errors import ConfigError
from ...lineage import PRETRAINING
from ...provenance import file_hash
from ...tasks import TASKS
from ...tasks.measured import with_structure
from .. import MODELS
from ..fingerprint.base import BITS
from ..fingerprint.blend import Member
from ..fingerprint.formula_network import fold
from ..inner import INNER, Around, fit_inner, inputs_of
from ..options import TrainingOptions, parse_options
from ..predict.starting import check_same
from ..protocol import FitContext, FitReport
from ..trained import read_json
from .decode import Written
from .inputs import InputTable
from .options import TRAINING, SpectrumToSmilesOptions
from .spectrum_to_smiles import SpectrumToSmiles, opened
from .transformer import Inputs

_TOLD = "told"  # column: (n, network.bits) of what the decoder is told
_IDLE = ("top", "hide", "random_spelling", "at_most", "fingerprint_weight")  # of training on spectra


class FingerprintToSmilesOptions(SpectrumToSmilesOptions):
    """Options of `fingerprint-to-smiles`: those of `spectrum-to-smiles` that do not train it, and two."""

    fingerprint: Member = Field(Member(model="fingerprint-blend"), description="the model that predicts it")
    cut: Annotated[float, Field(gt=0, lt=1)] | Literal["none"] = Field(
        0.5, description="probability from which a bit is told; none: probabilities are told as they are"
    )


class FingerprintToSmiles(Around, SpectrumToSmiles):
    """Spectrum → fingerprint → structures. Only the fingerprint's model is trained."""

    name = "fingerprint-to-smiles"
    Options: ClassVar[type[SpectrumToSmilesOptions]] = FingerprintToSmilesOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        where, chosen = f"model {self.name!r}", self.options.fingerprint
        self._check_idle(where)
        if self.options.weights == "random":
            remedy = "weights: FOLDER of `mslitmus pretrain decoder`"
            raise ConfigError("there is no decoder: it is trained on molecules beforehand", where=where, remedy=remedy)
        if BITS % self.shape.bits:
            what = f"network.bits {self.shape.bits} does not divide the {BITS:,} bits that are predicted"
            raise ConfigError(what, where=where, remedy="a decoder of 256, 512, 1024 or 2048 bits")
        self.inner: Any = MODELS[chosen.model](**chosen.options)
        if self.inner.task != "fingerprint" or self.inner.kind == "oracle":
            what = f"{chosen.model!r} is of the task {self.inner.task!r}, of kind {self.inner.kind!r}"
            remedy = "fingerprint: {model: nearest-spectrum}, binned-mlp, fingerprint-transformer or fingerprint-blend"
            raise ConfigError(what, where=f"{where}: fingerprint", remedy=remedy)
        looks = self.inner.kind != "blind" or self.options.formula == "predicted" or self.reranker.options.spectrum != 0
        self.kind = "trained" if looks else "blind"
        self.inner_metric = "fp-tanimoto-soft" if self.options.cut == "none" else "fp-tanimoto@0.5"

    def _check_idle(self, where: str) -> None:
        """Raises ConfigError for an option that would change nothing."""
        if self.options.blind:
            remedy = "a control that sees no spectrum: fingerprint: {model: formula-fingerprint}"
            raise ConfigError("blind: there is no spectrum to mask, the decoder reads none", where=where, remedy=remedy)
        fields = SpectrumToSmilesOptions.model_fields
        idle = [name for name in _IDLE if getattr(self.options, name) != fields[name].default]
        usual = parse_options(TrainingOptions, TRAINING, where=where).model_dump()
        own = self.training.model_dump()
        idle += [f"training.{name}" for name in own if name != "val_limit" and own[name] != usual[name]]
        if idle:
            what = f"{idle[0]} plays no part: the decoder takes no step on spectra"
            raise ConfigError(what, where=where, remedy=f"leave out {', '.join(idle)}")

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Hashes of the decoder and of the files that the fingerprint's model answers from, where it says so."""
        chosen: Any = parse_options(cls.Options, options, where=f"model {cls.name!r}")
        found = SpectrumToSmiles.inputs(options)
        check_decoder(Path(chosen.weights))
        return {**found, **inputs_of(chosen.fingerprint.model, chosen.fingerprint.options)}

    def check_task(self, task: Any) -> None:
        """Raises ConfigError where a formula is needed, by the decoder or by the fingerprint's model, and hidden.

        A row that is not given the formula does not show it to the fingerprint's model either.
        """
        SpectrumToSmiles.check_task(self, task)
        super().check_task(task if self.options.formula == "given" else TASKS["generation"](formula="hidden"))

    def check_start(self, parent: Any, head: str = "keep") -> None:
        """Always raises ConfigError: what it starts from is named by `weights`."""
        remedy = "leave out start_from; weights: FOLDER names the decoder"
        raise ConfigError("it takes no step from another row's weights", where=f"model {self.name!r}", remedy=remedy)

    # -- fitting -----------------------------------------------------------------------------------------------------

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        """Open the decoder, fit the fingerprint's model, choose the weights of re-ranking where they are open."""
        self.prepare(train, context)
        name = self.options.fingerprint.model
        if context.fitted is None:
            report = fit_inner(self.inner, self.inner_metric, train, val, context)
        else:
            self.inner = MODELS[name].load(context.fitted / INNER)
            report = FitReport(0.0, stopped="fitted before", notes={"fitted": str(context.fitted)})
        notes = {**report.notes, "inner": name, "inner_metric": self.inner_metric, "decoder_sha256": self._data_hash}
        return self._weighed(replace(report, parameters=self.parameters(), notes=notes), val, context)

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """Open the decoder; remember the formulae of the training fold. Raises ConfigError for another network, and for
        one that was not trained on molecules alone."""
        folder = Path(self.options.weights)
        parent = opened(folder)
        check_decoder(folder)
        self.reranker.forget()
        check_same(self, parent, "keep")
        self._build(parent.vocabulary)
        self.network.load_state_dict(parent.network.state_dict())
        self.network.eval()
        self.formulae.known = tuple(sorted(with_structure(train)["formula"].unique().to_list()))
        self._data_hash = file_hash(folder / "weights.pt")

    def parameters(self) -> int:
        """Of the decoder and the fingerprint's model."""
        return super().parameters() + int(self.inner.parameters())

    # -- prediction --------------------------------------------------------------------------------------------------

    def _asked(self, queries: pl.DataFrame) -> pl.DataFrame:
        """With their formulae and with the fingerprints that the decoder is told."""
        asked = super()._asked(queries)
        if self.options.formula == "given":
            shown = asked.drop_nulls("formula")
        else:
            shown = asked.drop("formula", "formulae", "log_weights", strict=False)
        return asked.with_columns(pl.Series(_TOLD, self._fingerprints(asked["identifier"], shown)))

    def _fingerprints(self, identifiers: pl.Series, shown: pl.DataFrame) -> NDArray[np.float32]:
        """(n, network.bits); 0 where nothing is predicted. Bit i is any of the bits i, i + network.bits, …"""
        told = np.zeros((len(identifiers), self.shape.bits), np.float32)
        if shown.is_empty():
            return told
        found = TASKS["fingerprint"]().check(self.inner.predict(shown), shown)
        rows = identifiers.to_frame().join(found, on="identifier", how="left", maintain_order="left")["fingerprint"]
        values = rows.drop_nulls().explode().to_numpy().astype(np.float32).reshape(-1, BITS)
        told[rows.is_not_null().to_numpy()] = fold(torch.from_numpy(values), self.shape.bits).numpy()
        return told if self.options.cut == "none" else (told >= np.float32(self.options.cut)).astype(np.float32)

    def _tabulate(self, frame: pl.DataFrame) -> InputTable:
        """As in pretraining: no peaks, no conditions."""
        told = frame["formula"].to_list() if "formula" in frame.columns else [None] * frame.height
        return InputTable.blank(told, frame[_TOLD].to_numpy(), self.vocabulary)

    def _strings(
        self, inputs: Inputs, part: pl.DataFrame, among: NDArray[np.int64]
    ) -> tuple[list[Written], NDArray[np.float32]]:
        """The strings, and the fingerprints that were told: the decoder's own head has learned nothing."""
        return super()._strings(inputs, part, among)[0], inputs.known.float().cpu().numpy()

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """The decoder as any generator, and the fingerprint's model in `inner`."""
        super().save(folder)
        self.inner.save(folder / INNER)

    @classmethod
    def _read_from(cls, folder: Path, options: dict[str, Any]) -> Self:
        model = super()._read_from(folder, options)
        model.inner = MODELS[model.options.fingerprint.model].load(folder / INNER)
        return model


def check_decoder(folder: Path) -> None:
    """Raises ConfigError where the weights are not those that `mslitmus pretrain decoder` left here.

    Weights of a training on spectra have seen whatever its split let them see, and were never told a fingerprint.
    """
    try:
        record = read_json(folder / PRETRAINING)
        own = record["asked"]["method"] == "decoder" and record["weights_sha256"] == file_hash(folder / "weights.pt")
    except (OSError, ValueError, KeyError, TypeError):
        own = False
    if not own:
        remedy = "weights: a folder as `mslitmus pretrain decoder` leaves it, with its pretraining.json"
        raise ConfigError("no decoder that was trained on molecules alone", where=str(folder), remedy=remedy)
