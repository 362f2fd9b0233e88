"""An embedder: spectra in, unit vectors out. What trains one, and what it is trained for, stands elsewhere.

A `Design` says which network with which options; with a vocabulary of adducts it becomes a network and makes the tables
that this network reads. A `SpectrumEmbedder` is a trained one: `embed` any table of spectra, `save`, `load`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from ...errors import ConfigError, unknown_name
from ...provenance import write_json
from ..fingerprint.binning import SparseRows, binned
from ..options import Options, parse_options
from ..predict.batching import tensors
from ..predict.conditioning import Conditioning, ConditioningOptions, ConditionVocabulary, check_conditions
from ..trained import read_json, reading, write_weights
from .mlp import Bins, EmbeddingMLP, EmbeddingMLPOptions, bins
from .peaks import PeakTable, filled, length_batches
from .transformer import PeakTransformer, Tokens, TransformerOptions, tokens

Vectors = NDArray[np.float32]
Precursor = Literal["exact", "rounded", "none"]
NETWORKS: Mapping[str, type[Options]] = {"transformer": TransformerOptions, "mlp": EmbeddingMLPOptions}
_STEP = 0.1  # Da, of a rounded precursor: a window of some ppm then holds one value, or two where it meets a border
_CHUNK = 4096  # spectra made into a table at a time
_TOKENS, _SPECTRA = 4096, 256  # of a batch that is embedded


@runtime_checkable
class Embedder(Protocol):
    """Anything that embeds: `width` numbers a spectrum, one row a row of the frame (schema SPECTRA), unit length."""

    @property
    def width(self) -> int: ...

    def embed(self, frame: pl.DataFrame) -> Vectors: ...


class DesignOptions(Options):
    """What a network is, beside its own options."""

    network: str | dict[str, Any] = "transformer"
    conditioning: tuple[str, ...] = ("adduct", "energy", "instrument")
    conditions: dict[str, Any] = Field(default_factory=dict)
    top_peaks: int = Field(60, ge=0, description="most intense peaks that are read; 0: all")
    precursor: Precursor = Field("exact", description="its m/z as read: as it stands, to 0.1 Da, or not at all")


@dataclass(frozen=True)
class SparseTable:
    """n spectra in bins, as the MLP reads them."""

    rows: SparseRows
    conditions: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.rows.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.rows.offsets)

    def take(self, rows: NDArray[np.int64]) -> SparseTable:
        return SparseTable(self.rows.take(rows), {name: values[rows] for name, values in self.conditions.items()})


@dataclass(frozen=True)
class Design:
    """Which network: name, its options, what it is told beside the peaks."""

    name: str
    network: Any
    conditioning: tuple[Any, ...]
    conditions: ConditioningOptions
    top_peaks: int
    precursor: Precursor = "exact"

    @classmethod
    def of(cls, options: DesignOptions) -> Self:
        """From plain options. Raises ConfigError for unknown names and options."""
        given = {"name": options.network} if isinstance(options.network, str) else dict(options.network)
        name = given.pop("name", "transformer")
        if name not in NETWORKS:
            raise unknown_name("network", str(name), NETWORKS)
        network = parse_options(NETWORKS[name], given, where=f"network {name!r}")
        conditions = parse_options(ConditioningOptions, {"mask": 0.1, **options.conditions}, where="conditions")
        return cls(
            name, network, check_conditions(options.conditioning), conditions, options.top_peaks, options.precursor
        )

    def described(self) -> dict[str, Any]:
        """As `DesignOptions` take it, defaults included, but for an exact precursor: files from before there was a
        choice say the same."""
        own = {} if self.precursor == "exact" else {"precursor": self.precursor}
        return {
            **own,
            "network": {"name": self.name, **self.network.model_dump()},
            "conditioning": list(self.conditioning),
            "conditions": self.conditions.model_dump(),
            "top_peaks": self.top_peaks,
        }

    def build(self, vocabulary: ConditionVocabulary) -> Any:
        """The network, untrained: `PeakTransformer` or `EmbeddingMLP`."""
        conditioning = Conditioning(self.conditioning, self.conditions, vocabulary)
        if self.name == "mlp":
            return EmbeddingMLP(self.network, conditioning)
        return PeakTransformer(self.network, conditioning)

    def table(self, frame: pl.DataFrame, vocabulary: ConditionVocabulary) -> PeakTable | SparseTable:
        """What the network reads of these spectra."""
        frame = self._as_read(filled(frame))
        if self.name == "transformer":
            return PeakTable.of(frame, vocabulary, self.top_peaks)
        return SparseTable(binned(frame, self.network.bins()), vocabulary.encode(frame))

    def _as_read(self, frame: pl.DataFrame) -> pl.DataFrame:
        """With the precursor m/z that the network may know: losses and conditions follow from it."""
        if self.precursor == "exact":
            return frame
        known = pl.col("precursor_mz")
        return frame.with_columns(precursor_mz=(known / _STEP).round() * _STEP if self.precursor == "rounded" else 0.0)


def batch_of(table: PeakTable | SparseTable, rows: NDArray[np.int64], device: torch.device | str) -> Tokens | Bins:
    """These spectra as a network takes them."""
    taken = table.take(rows)
    if isinstance(taken, PeakTable):
        return tokens(taken, device)
    return bins(taken.rows, tensors(taken.conditions, device), device)


def embed_table(network: nn.Module, table: PeakTable | SparseTable, device: torch.device | str = "cpu") -> Vectors:
    """(n, width) unit vectors, in the order of the table; batches hold spectra of like length."""
    out = np.zeros((len(table), int(network.out_width)), np.float32)
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for rows in length_batches(table.lengths, _TOKENS, _SPECTRA):
            out[rows] = network(batch_of(table, rows, device)).cpu().numpy()
    network.train(was_training)
    return out


class SpectrumEmbedder:
    """A trained network with what it needs to read spectra."""

    def __init__(self, design: Design, vocabulary: ConditionVocabulary, network: Any, device: str = "cpu") -> None:
        self.design, self.vocabulary, self.network = design, vocabulary, network.to(device).eval()
        self.width, self.device = int(network.out_width), device

    def embed(self, frame: pl.DataFrame) -> Vectors:
        """(n, width) unit vectors of SPECTRA rows; only `identifier` and peaks must be there."""
        starts = range(0, frame.height, _CHUNK)
        tables = (self.design.table(frame[start : start + _CHUNK], self.vocabulary) for start in starts)
        parts = [embed_table(self.network, table, self.device) for table in tables]
        return np.concatenate([np.zeros((0, self.width), np.float32), *parts])

    def stream(self, frames: Iterable[pl.DataFrame]) -> Iterator[tuple[pl.DataFrame, Vectors]]:
        """Frame by frame: memory is that of one frame."""
        for frame in frames:
            yield frame, self.embed(frame)

    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def save(self, folder: Path) -> None:
        """embedder.json, vocabulary.json and weights.pt."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "embedder.json", self.design.described())
        write_json(folder / "vocabulary.json", {"adducts": list(self.vocabulary.adducts)})
        write_weights(self.network, folder)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Self:
        """Of a pretraining, a fine-tuning, a saved `library-embedding`. Raises ModelError where it is none."""
        design, vocabulary = read_design(folder)
        network = design.build(vocabulary)
        with reading(folder):
            network.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True))
        return cls(design, vocabulary, network, device)


def read_design(folder: Path) -> tuple[Design, ConditionVocabulary]:
    """What `SpectrumEmbedder.save` told of a network. Raises ModelError where the folder holds none."""
    with reading(folder):
        design = Design.of(parse_options(DesignOptions, read_json(folder / "embedder.json"), where=str(folder)))
        vocabulary = ConditionVocabulary(tuple(read_json(folder / "vocabulary.json")["adducts"]))
    return design, vocabulary


def same_design(asked: Mapping[str, Any], folder: Path) -> Design:
    """The design of a pretraining's folder; how the precursor is read may differ, since no weight depends on it.

    Raises ConfigError where `asked` (plain options) wants another one.
    """
    design, _ = read_design(folder)
    design = replace(design, precursor=asked.get("precursor", design.precursor))
    theirs = design.described()
    if asked:
        mine = Design.of(parse_options(DesignOptions, {**theirs, **asked}, where="embedding")).described()
        for key in (k for k in theirs if mine[k] != theirs[k]):
            what = f"{key} {mine[key]!r} is not that of the pretraining, {theirs[key]!r}"
            raise ConfigError(what, where=str(folder), remedy=f"leave out {key}: the pretraining sets it")
    return design
