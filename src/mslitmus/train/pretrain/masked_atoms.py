"""Stage 2: the encoder learns to tell the tokens of masked atoms, and to keep maskings of a molecule together.

Source: Xia et al., ICLR 2023, sections 4.2 and 4.3. Every molecule is masked twice, 15 % and 30 % of its atoms (with
their bonds); for each masking a linear layer of its own must tell the tokens of the masked atoms (and the orders of
masked bonds), and the two graph vectors and that of the whole molecule enter the triplet-masked contrast:

    loss = Σ over maskings (cross-entropy of tokens + of bonds) + contrast + 0.1 · triplet.

Any graph encoder will do: it is masked through its input (`masking`), and what it learns are its own weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ...chem.graph import BOND_FIELDS
from ...models import ENCODERS
from ...models.options import Options, parse_options
from ...models.predict.batching import tensor, tensors
from ...models.predict.features import Array, FeatureStore, Featuriser, Ragged
from ...models.predict.parts import Encoded
from .contrast import contrast, triplet
from .masking import View, mask
from .stage import PretrainTraining, Stage, per_molecule
from .tokeniser import Tokeniser


class MaskingOptions(Options):
    """Options of stage 2."""

    rates: tuple[float, float] = Field((0.15, 0.30), description="share of masked atoms in each of the two maskings")
    bonds: bool = Field(True, description="mask the bonds of masked atoms too, and ask for their order")
    contrast: float = Field(1.0, ge=0, description="weight of the contrast between molecules; 0 leaves it out")
    temperature: float = Field(0.1, gt=0)
    triplet: float = Field(0.1, ge=0, description="weight of the triplet term")
    margin: float = Field(0.0, ge=0, description="of the triplet term")


class Tokenised:
    """Features of an encoder with the token of every atom beside them: what stage 2 learns from, made once."""

    def __init__(self, encoder: Featuriser, tokeniser: Tokeniser) -> None:
        self.encoder, self.tokeniser = encoder, tokeniser

    @property
    def key(self) -> str:
        return f"{self.encoder.key}-{self.tokeniser.fingerprint()}"

    def compute(self, smiles: Sequence[str]) -> Ragged:
        """The graph's and the encoder's own arrays, and `tokens` (atoms,)."""
        graphs = self.tokeniser.store
        known = graphs.get(smiles)
        own = known if self.encoder.key == graphs.featuriser.key else self.encoder.compute(smiles)
        arrays = {**known.arrays, **own.arrays, "tokens": self.tokeniser.tokens(known)}
        return Ragged(arrays, {**known.offsets, **own.offsets, "tokens": known.offsets["atoms"]})

    def collate(self, features: Ragged) -> dict[str, Array]:
        """As the encoder's."""
        return self.encoder.collate(features)


@dataclass(frozen=True)
class Batch:
    """Molecules as they are, and masked lightly and heavily."""

    whole: Mapping[str, Tensor]
    views: tuple[View, View]
    owner: Tensor
    size: int


class MaskedNetwork(nn.Module):
    """The encoder and what is thrown away afterwards: two layers for tokens, two for bonds, one for the contrast."""

    def __init__(self, encoder: Any, codes: int, atom_width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokens = nn.ModuleList(nn.Linear(atom_width, codes) for _ in range(2))
        self.bonds = nn.ModuleList(nn.Linear(atom_width, BOND_FIELDS["order"]) for _ in range(2))
        width = encoder.width
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


class MaskedAtoms(Stage):
    """Stage 2 as a `Trainable`. Its score is the share of masked atoms whose token is told right."""

    name = "masked-atoms"

    def __init__(
        self, encoder: str, options: Any, masking: MaskingOptions, training: PretrainTraining, store: FeatureStore
    ) -> None:
        self.encoder, self.encoder_options, self.masking = encoder, options, masking
        self.tokeniser: Tokeniser = store.featuriser.tokeniser  # type: ignore[attr-defined]
        super().__init__(training, store)

    @classmethod
    def of(cls, encoder: str, options: Any, masking: Mapping[str, Any], training: Mapping[str, Any], tokens: Tokeniser,
           limit: int) -> MaskedAtoms:  # fmt: skip
        """From plain options; `limit` molecules are held in memory. Raises ConfigError."""
        featuriser = Tokenised(ENCODERS[encoder].featuriser(options), tokens)
        return cls(
            encoder,
            options,
            parse_options(MaskingOptions, masking, where="masking"),
            parse_options(PretrainTraining, training, where="training"),
            FeatureStore(featuriser, limit=limit, processes=1, memory=limit),
        )

    def described(self) -> dict[str, Any]:
        return {
            "encoder": {"name": self.encoder, **self.encoder_options.model_dump()},
            "masking": self.masking.model_dump(),
            "training": self.training.model_dump(),
            "tokeniser": self.tokeniser.fingerprint(),
        }

    def _build(self) -> None:
        encoder = ENCODERS[self.encoder](self.encoder_options)
        self.network: MaskedNetwork = MaskedNetwork(
            encoder, self.tokeniser.options.codes, _atom_width(encoder, self.store.featuriser)
        )

    def batch(self, features: Ragged, rng: np.random.Generator) -> Batch:
        light, heavy = (self._view(features, rate, rng) for rate in self.masking.rates)
        owner = np.repeat(np.arange(len(features)), np.diff(features.offsets["atoms"]))
        whole = tensors(self.store.featuriser.collate(features), self._device)
        return Batch(whole, (light, heavy), tensor(owner, self._device), len(features))

    def _view(self, features: Ragged, rate: float, rng: np.random.Generator) -> View:
        masked = mask(features, rate, rng, self.masking.bonds)
        tokens = features.arrays["tokens"][masked.atoms].astype(np.int64)
        arrays = (masked.atoms, tokens, masked.ends, masked.orders)
        molecules = tensors(self.store.featuriser.collate(masked.features), self._device)
        return View(molecules, *(tensor(values, self._device) for values in arrays))

    def loss(self, batch: Batch) -> Tensor:
        """Tokens and bonds of both maskings, contrast and triplet of one batch."""
        network, options = self.network, self.masking
        encoded: list[Encoded] = [network.encoder(view.molecules) for view in batch.views]
        loss = torch.zeros((), device=batch.owner.device)
        for view, seen, tokens, bonds in zip(batch.views, encoded, network.tokens, network.bonds, strict=True):
            states = _atoms(seen)
            loss = loss + functional.cross_entropy(tokens(states.index_select(0, view.atoms)), view.tokens)
            if len(view.orders):
                ends = states.index_select(0, view.ends[:, 0]) + states.index_select(0, view.ends[:, 1])
                loss = loss + functional.cross_entropy(bonds(ends), view.orders)
        if not (options.contrast or options.triplet):
            return loss
        light, heavy = (network.project(seen.graph) for seen in encoded)
        loss = loss + options.contrast * contrast(light, heavy, options.temperature)
        if options.triplet:
            with torch.no_grad():
                whole = network.project(network.encoder(batch.whole).graph)
            loss = loss + options.triplet * triplet(whole, light, heavy, options.margin)
        return loss

    def judge(self, batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        right, asked = np.zeros(batch.size, np.int64), np.zeros(batch.size, np.int64)
        for view, layer in zip(batch.views, self.network.tokens, strict=True):
            told = layer(_atoms(self.network.encoder(view.molecules))[view.atoms]).argmax(1)
            owner = batch.owner[view.atoms]
            right += per_molecule((told == view.tokens).long(), owner, batch.size)
            asked += per_molecule(torch.ones_like(owner), owner, batch.size)
        return right, asked

    def guess(self, smiles: Sequence[str]) -> float:
        """What a guess without an encoder gets: the share of atoms whose token is the commonest one."""
        features = self.store.get(smiles)
        counts = np.bincount(features.arrays["tokens"])
        return float(counts.max() / counts.sum())


def _atoms(encoded: Encoded) -> Tensor:
    assert encoded.atoms is not None
    return encoded.atoms


def _atom_width(encoder: Any, featuriser: Featuriser) -> int:
    """Width of the atom states, which an encoder need not say: asked of one small molecule."""
    inner = featuriser.encoder if isinstance(featuriser, Tokenised) else featuriser
    molecules = tensors(inner.collate(inner.compute(["CO"])), "cpu")
    was_training = encoder.training
    encoder.eval()
    with torch.no_grad():
        width = int(_atoms(encoder(molecules)).shape[1])
    encoder.train(was_training)
    return width
