"""molconv: convolutions over a molecule's atoms as a cloud of points in space.

Source: Hong et al., "3DMolMS: prediction of tandem mass spectra from 3D molecular conformations", Bioinformatics 39,
btad354 (2023), written from its description; no code was taken. Each layer has three subnetworks: of the atom, of its k
nearest neighbours (their states, distances and the Gram matrix ⟨x_j − x_i, x_l − x_i⟩ of their displacements, which
holds the angles), and one that joins both. The layers' outputs are stacked; the readout is a maximum and a mean.

Patent notice: a United States patent application covers this method: US 2025/0356958 A1, "Method of predicting MS/MS
spectra and properties of chemical compounds" (published 20 November 2025, priority 63/349,329 of 6 June 2022). Whoever
uses this encoder commercially should find out whether and where a patent was granted.

Departures, so that results depend on nothing but shape: a row of the Gram matrix is sorted and a neighbour fades out
before it leaves the neighbourhood, so equal distances cannot tip; layer normalisation in place of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ....chem.conformer import METHODS, ConformerSettings, PointCloud, point_cloud
from ....chem.graph import ATOM_FIELDS, molecule_graph
from ...options import Options
from ..features import Array, Ragged
from ..layers import CodeEmbedding
from ..parts import Encoded, Provides

_HYDROGEN = {"element": 2, "degree": 1, "charge": 3, "hybridisation": 1}  # the codes of `chem.graph` of an added one
_PAIRS = 1 << 22  # atom pairs whose distances are held at once


@dataclass(frozen=True)
class CloudFeaturiser:
    """Conformers and atom codes. `settings` are of the conformers and named in `key`."""

    settings: ConformerSettings
    portion: ClassVar[int] = 32  # molecules of a process at a time (`parallel`): each takes long

    @property
    def key(self) -> str:
        return f"cloud-v1-{self.settings.key}"

    def compute(self, smiles: Sequence[str]) -> Ragged:
        """coordinates (n, 3) float32, atoms (n, fields) codes; a row a molecule: shown (atoms of the SMILES), method
        (position in `chem.conformer.METHODS`)."""
        return Ragged.stack([_row(text, point_cloud(text, self.settings)) for text in smiles])

    def collate(self, features: Ragged) -> dict[str, Array]:
        """All clouds as one: coordinates (n, 3), atoms (n, fields), sizes (molecules,) their numbers of atoms, shown
        (molecules,) how many of these are the SMILES' own."""
        return {
            "coordinates": features.arrays["coordinates"],
            "atoms": features.arrays["atoms"].astype(np.int64),
            "sizes": np.diff(features.offsets["coordinates"]),
            "shown": features.arrays["shown"].astype(np.int64),
        }


def _row(smiles: str, cloud: PointCloud) -> dict[str, Array]:
    codes = molecule_graph(smiles).atoms
    hydrogen = np.array([[_HYDROGEN.get(name, 0) for name in ATOM_FIELDS]], np.uint8)
    atoms = np.concatenate([codes, np.repeat(hydrogen, int(cloud.added.sum()), axis=0)])
    shown, method = np.array([len(codes)], np.int32), np.array([METHODS.index(cloud.method)], np.uint8)
    return {"coordinates": cloud.coordinates, "atoms": atoms, "shown": shown, "method": method}


class MolConvOptions(Options):
    """Options of the molconv encoder. Widths double from layer to layer up to the last, from 64: six layers of width
    1024 are the published 64, 64, 128, 256, 512, 1024."""

    layers: int = Field(4, ge=1, le=12)
    width: int = Field(
        128, ge=8, le=4096, description="of the last layer and of an atom; the graph vector has twice that"
    )
    neighbours: int = Field(5, ge=1, le=32, description="nearest in space")
    dropout: float = Field(0.1, ge=0, lt=1)
    hydrogens: bool = Field(True, description="whether hydrogens are points of the cloud, as published")
    optimise: int = Field(0, ge=0, le=10_000, description="steps of the MMFF94 force field after the embedding")
    seed: int = Field(0, ge=0, le=2**31 - 2, description="of the conformers, not of the weights")
    attempts: int = Field(30, ge=1, le=1000, description="at an embedding before falling back")
    seconds: float = Field(60.0, ge=1, le=3600, description="limit of an embedding")

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(max(min(64, self.width), self.width >> (self.layers - 1 - i)) for i in range(self.layers))


@dataclass(frozen=True)
class Neighbourhood:
    """The k nearest atoms of each atom of its molecule, nearest first.

    Attributes:
        index: (atoms, k) in the batch's numbers; the atom itself where there are fewer.
        weight: (atoms, k) 1, fading to 0 towards the distance of the next atom; 0 where there is none.
        shape: (atoms, k, k + 1) distance in Å, and the neighbour's row of the Gram matrix, sorted and scaled.
    """

    index: Tensor
    weight: Tensor
    shape: Tensor


@torch.no_grad()
def neighbourhood(coordinates: Tensor, sizes: Tensor, k: int) -> Neighbourhood:
    """coordinates: (atoms, 3), molecule after molecule; sizes: (molecules,) atoms of each."""
    starts = torch.cumsum(sizes, 0) - sizes
    atoms = len(coordinates)
    index = torch.arange(atoms, device=coordinates.device).unsqueeze(1).repeat(1, k + 1)
    distance = coordinates.new_full((atoms, k + 1), torch.inf)
    for molecules, padded in _buckets(sizes):
        at = starts[molecules].unsqueeze(1) + torch.arange(padded, device=sizes.device)
        real = torch.arange(padded, device=sizes.device) < sizes[molecules].unsqueeze(1)
        at = at.clamp(max=atoms - 1)
        points = coordinates[at]
        squared = sum((points[:, :, None, c] - points[:, None, :, c]) ** 2 for c in range(3))
        squared = squared.masked_fill(~real.unsqueeze(1), torch.inf)
        squared.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        count = min(k + 1, padded)
        nearest, which = squared.topk(count, dim=2, largest=False)
        rows = at[real]
        found = nearest[real]
        index[rows, :count] = torch.where(
            found.isfinite(), at.gather(1, which.flatten(1)).view_as(which)[real], rows[:, None]
        )
        distance[rows, :count] = found.sqrt()
    return _shape(coordinates, index[:, :k], distance, k)


def _buckets(sizes: Tensor) -> list[tuple[Tensor, int]]:
    """(molecules, padded size) of molecules of like size, no more than `_PAIRS` pairs of atoms at a time."""
    padded = 8 * torch.div(sizes + 7, 8, rounding_mode="floor")
    out = []
    for size in padded.unique().tolist():
        members = (padded == size).nonzero().squeeze(1)
        out += [(part, size) for part in members.split(max(1, _PAIRS // size**2))]
    return out


def _shape(coordinates: Tensor, index: Tensor, distance: Tensor, k: int) -> Neighbourhood:
    """distance: (atoms, k + 1) Å, infinite where there is no atom."""
    near, next_one = distance[:, :k], distance[:, k:]
    there = near.isfinite()
    ratio = torch.where(next_one.isfinite(), near / next_one.clamp(min=1e-6), torch.zeros_like(near))
    weight = torch.where(there, 1 - ratio.clamp(max=1) ** 6, torch.zeros_like(near))
    towards = coordinates[index] - coordinates.unsqueeze(1)
    gram = towards @ (towards * weight.unsqueeze(2)).transpose(1, 2)
    near = torch.where(there, near, torch.zeros_like(near))
    shape = torch.cat([near.unsqueeze(2), gram.sort(dim=2).values / 4.0], dim=2)  # a bond of 2 Å, squared, is about 1
    return Neighbourhood(index, weight, shape)


class MolConv(nn.Module):
    """One layer: (atoms, before) → (atoms, after)."""

    def __init__(self, before: int, after: int, k: int) -> None:
        super().__init__()
        self.atom = nn.Linear(before, after)
        self.neighbour = nn.Linear(before, after, bias=False)
        self.shape = nn.Linear(k + 1, after)
        self.join = nn.Sequential(nn.Linear(2 * after, after), nn.LayerNorm(after), nn.ReLU())

    def forward(self, state: Tensor, near: Neighbourhood) -> Tensor:
        atoms, k = near.index.shape
        seen = self.neighbour(state).index_select(0, near.index.flatten()).view(atoms, k, -1)
        message = torch.relu(seen + self.shape(near.shape)) * near.weight.unsqueeze(2)
        out: Tensor = self.join(torch.cat([torch.relu(self.atom(state)), message.sum(dim=1) / k], dim=1))
        return out


class MolConvEncoder(nn.Module):
    """Point clouds → graph vector (molecules, 2 · width) and states of the SMILES' atoms (atoms, width)."""

    provides: ClassVar[frozenset[Provides]] = frozenset({"graph", "atoms"})
    Options = MolConvOptions

    def __init__(self, options: MolConvOptions) -> None:
        super().__init__()
        widths = options.widths
        self.neighbours, self.width = options.neighbours, 2 * options.width
        self.atoms = CodeEmbedding(tuple(ATOM_FIELDS.values()), widths[0])
        before = (widths[0], *widths[:-1])
        self.layers = nn.ModuleList(MolConv(a, b, options.neighbours) for a, b in zip(before, widths, strict=True))
        self.stack = nn.Sequential(nn.Linear(sum(widths), options.width), nn.LayerNorm(options.width), nn.ReLU())
        self.dropout = nn.Dropout(options.dropout)

    @classmethod
    def featuriser(cls, options: Any) -> CloudFeaturiser:
        chosen = {name: getattr(options, name) for name in ("seed", "hydrogens", "optimise", "attempts", "seconds")}
        return CloudFeaturiser(ConformerSettings(**chosen))

    def forward(self, molecules: Mapping[str, Tensor]) -> Encoded:
        sizes, shown = molecules["sizes"], molecules["shown"]
        near = neighbourhood(molecules["coordinates"], sizes, self.neighbours)
        state, layers = self.atoms(molecules["atoms"]), []
        for layer in self.layers:
            state = layer(state, near)
            layers.append(state)
        state = self.dropout(self.stack(torch.cat(layers, dim=1)))
        owner = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
        rank = torch.arange(len(owner), device=sizes.device) - (torch.cumsum(sizes, 0) - sizes)[owner]
        own = rank < shown[owner]
        return Encoded(self._read(state, owner, sizes), state[own], owner[own])

    @staticmethod
    def _read(state: Tensor, owner: Tensor, sizes: Tensor) -> Tensor:
        """Maximum and mean over all points, hydrogens included."""
        empty = state.new_zeros(len(sizes), state.shape[1])
        mean = empty.index_add(0, owner, state) / sizes.unsqueeze(1)
        largest = empty.scatter_reduce(0, owner.unsqueeze(1).expand_as(state), state, "amax", include_self=False)
        return torch.cat([largest, mean], dim=1)
