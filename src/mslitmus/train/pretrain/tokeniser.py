"""Stage 1: a tokeniser that gives every atom one of 512 codes, by its element and surroundings.

Source: Xia et al., ICLR 2023, section 4.1: a group vector-quantised autoencoder (VQ-VAE, van den Oord et al. 2017). A
GIN encodes atoms, each is replaced by the nearest code of its element's group, and a decoder must tell the molecule
from the codes. Carbon, nitrogen and oxygen have codes of their own, so that the commonest element cannot take them all:

    carbon 0–377, nitrogen 378–433, oxygen 434–488, all others 489–511   (a smaller codebook in the same shares)

    loss = reconstruction + |sg(h) − e|² + β |h − sg(e)|²,   β = 0.25; the decoder's gradient passes straight to h.

Departures: the reconstruction asks for all atom codes of `chem.graph` (the paper: element and chirality) and the bond
order; a code that no atom takes for long is moved to an atom of its group, drawn from the batch (the authors leave it
dead). As in the authors' code, cross-entropy stands for the paper's scaled cosine error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ...chem.graph import ATOM_FIELDS, BOND_FIELDS, ELEMENTS
from ...models.options import Options, parse_options
from ...models.predict.batching import tensors
from ...models.predict.encoders.molebert import MoleBERTEncoder, MoleBERTLayer, MoleBERTOptions, bond_counts
from ...models.predict.features import FeatureStore, Ragged
from .stage import PretrainTraining, Stage, per_molecule

#: First code of each group and the end, of 512 codes: C, N, O, others.
GROUPS = (0, 378, 434, 489, 512)
_ELEMENTS = tuple(ELEMENTS.index(symbol) + 1 for symbol in ("C", "N", "O"))
_DECAY = 0.95  # of the moving average of a code's use, a batch
_ATOM_SIZES = tuple(ATOM_FIELDS.values())


class TokeniserOptions(Options):
    """Options of stage 1."""

    layers: int = Field(5, ge=1, le=20)
    width: int = Field(300, ge=8, le=4096)
    codes: int = Field(512, ge=32, le=65_535)
    commitment: float = Field(0.25, ge=0, description="β of the loss")
    dead: float = Field(0.03, ge=0, lt=1, description="share of its group's mean use below which a code is moved")
    training: dict[str, Any] = Field(default_factory=dict)


def groups(codes: int) -> tuple[int, ...]:
    """First code of each group, and the end: the paper's shares of `codes`, every group with one code or more."""
    return tuple(round(bound * codes / GROUPS[-1]) for bound in GROUPS)


class Codebook(nn.Module):
    """Vector quantisation within the group of an atom's element: (atoms, width) → nearest codes."""

    def __init__(self, codes: int, width: int, dead: float) -> None:
        super().__init__()
        self.bounds, self.dead = groups(codes), dead
        self.vectors = nn.Embedding(codes, width)
        sizes = torch.tensor(self.bounds).diff()
        self.group: Tensor
        self.use: Tensor
        self.register_buffer("group", torch.repeat_interleave(torch.arange(4), sizes), persistent=False)
        self.register_buffer("use", torch.zeros(codes))

    def groups_of(self, elements: Tensor) -> Tensor:
        """(atoms,) codes of `element` → the number of each atom's group."""
        group = torch.full_like(elements, 3)
        for number, element in enumerate(_ELEMENTS):
            group[elements == element] = number
        return group

    def forward(self, states: Tensor, elements: Tensor) -> Tensor:
        """(atoms,) the nearest code of each atom's group. In training it also moves codes that are dead."""
        own = self.groups_of(elements)
        if self.training:
            self._revive(states.detach(), own)
        vectors = self.vectors.weight
        distance = (vectors**2).sum(1) - 2 * states @ vectors.T
        tokens: Tensor = distance.masked_fill(own[:, None] != self.group, torch.inf).argmin(dim=1)
        if self.training:
            counts = torch.bincount(tokens, minlength=len(self.use)).to(self.use.dtype)
            self.use.mul_(_DECAY).add_(counts, alpha=1 - _DECAY)
        return tokens

    @torch.no_grad()
    def _revive(self, states: Tensor, own: Tensor) -> None:
        """Put every dead code on an atom of its group, drawn from the batch; at first all are dead. A moved code starts
        with its group's mean use, and so has time to be taken."""
        sizes = torch.bincount(self.group, minlength=4)
        mean = self.use.new_zeros(4).index_add(0, self.group, self.use) / sizes
        atoms = torch.bincount(own, minlength=4)
        fresh = atoms / sizes
        dead = (self.use <= self.dead * mean[self.group]) & (atoms[self.group] > 0)
        if not bool(dead.any()):
            return
        group = self.group[dead]
        first = atoms.cumsum(0) - atoms
        drawn = first[group] + (torch.rand(len(group), dtype=torch.float64, device=own.device) * atoms[group]).long()
        self.vectors.weight[dead] = states[torch.argsort(own, stable=True)[drawn]]
        self.use[dead] = torch.where(mean[group] > 0, mean[group], fresh[group])


class TokeniserNetwork(nn.Module):
    """Encoder, codebook and decoder."""

    def __init__(self, options: TokeniserOptions) -> None:
        super().__init__()
        width = options.width
        sizes = {"layers": options.layers, "width": width, "dropout": 0.0}
        self.encoder = MoleBERTEncoder(parse_options(MoleBERTOptions, sizes, where="tokeniser"))
        self.codebook = Codebook(options.codes, width, options.dead)
        self.enter = nn.Sequential(nn.PReLU(), nn.Linear(width, width, bias=False))
        self.decoder = MoleBERTLayer(width)
        self.atoms = nn.Linear(width, sum(_ATOM_SIZES))
        self.bonds = nn.Linear(width, BOND_FIELDS["order"])

    def encode(self, molecules: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(atoms, width) states and (atoms,) tokens."""
        states = self.encoder(molecules).atoms
        return states, self.codebook(states, molecules["atoms"][:, 0])

    def decode(self, codes: Tensor, molecules: Mapping[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """Logits of each atom field, (atoms, size) each, and of the order of each bond, (2m, orders)."""
        edges = molecules["edges"]
        bonds = bond_counts(edges, molecules["bonds"], len(codes)).to(codes.dtype)
        hidden = torch.relu(self.decoder(self.enter(codes), edges, bonds))
        return list(self.atoms(hidden).split(_ATOM_SIZES, dim=1)), self.bonds(
            codes.index_select(0, edges[0]) + codes.index_select(0, edges[1])
        )


@dataclass(frozen=True)
class CodeUse:
    """How a codebook is used over many atoms: codes taken at all, and e^entropy of their shares."""

    codes: int
    used: int
    perplexity: float

    @classmethod
    def of(cls, tokens: NDArray[np.integer[Any]], codes: int) -> CodeUse:
        counts = np.bincount(tokens, minlength=codes)
        share = counts[counts > 0] / counts.sum()
        return cls(codes, int((counts > 0).sum()), round(float(np.exp(-(share * np.log(share)).sum())), 1))


class Tokeniser(Stage):
    """Stage 1 as a `Trainable`. Its score is the share of atom fields and bond orders that the codes still tell."""

    name = "tokeniser"

    def __init__(self, options: TokeniserOptions, store: FeatureStore) -> None:
        self.options = options
        super().__init__(parse_options(PretrainTraining, options.training, where="tokeniser: training"), store)

    def described(self) -> dict[str, Any]:
        return {**self.options.model_dump(), "training": self.training.model_dump()}

    def _build(self) -> None:
        self.network: TokeniserNetwork = TokeniserNetwork(self.options)

    def batch(self, features: Ragged, rng: np.random.Generator) -> dict[str, Tensor]:
        return tensors(self.store.featuriser.collate(features), self._device)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Reconstruction, codebook and commitment terms of one batch."""
        states, tokens = self.network.encode(batch)
        vectors = self.network.codebook.vectors(tokens)
        codebook = functional.mse_loss(vectors, states.detach())
        commitment = functional.mse_loss(states, vectors.detach())
        atoms, bonds = self.network.decode(states + (vectors - states).detach(), batch)
        fields = [functional.cross_entropy(logits, batch["atoms"][:, i]) for i, logits in enumerate(atoms)]
        loss = fields[0] + torch.stack(fields[1:]).mean() + codebook + self.options.commitment * commitment
        if len(bonds):
            loss = loss + functional.cross_entropy(bonds, batch["bonds"][:, 0])
        return loss

    def judge(self, batch: Mapping[str, Tensor]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        _, tokens = self.network.encode(batch)
        atoms, bonds = self.network.decode(self.network.codebook.vectors(tokens), batch)
        told = torch.stack([logits.argmax(1) for logits in atoms], dim=1) == batch["atoms"]
        orders = (bonds.argmax(1) == batch["bonds"][:, 0]).long()
        owner, molecules = batch["owner"], int(batch["molecules"])
        of_bond = owner[batch["edges"][0]]
        right = per_molecule(told.sum(1), owner, molecules) + per_molecule(orders, of_bond, molecules)
        asked = per_molecule(torch.ones_like(owner), owner, molecules) * len(_ATOM_SIZES)
        return right, asked + per_molecule(torch.ones_like(of_bond), of_bond, molecules)

    def tokens(self, features: Ragged, chunk: int = 512) -> NDArray[np.uint16]:
        """(atoms,) the token of every atom of these molecules."""
        parts = []
        with self._predicting():
            for start in range(0, len(features), chunk):
                rows = np.arange(start, min(start + chunk, len(features)))
                batch = self.batch(features.take(rows), np.random.default_rng(0))
                parts.append(self.network.encode(batch)[1].cpu().numpy().astype(np.uint16))
        return np.concatenate(parts)

    def code_use(self, smiles: list[str]) -> CodeUse:
        """How the codebook is used over these molecules."""
        return CodeUse.of(self.tokens(self.store.get(smiles)), self.options.codes)
