"""How fast are molecules turned into graphs? `python benchmarks/featurise.py [--molecules N] [--processes N]`

Graphs (`chem.graph`) and graphs with all shortest paths (`chem.paths`), in molecules per second of processor time on
one core, beside PyTorch Geometric's `from_smiles` and chemprop's featuriser where it can be imported; then the same
through `FeatureStore` in several processes, in seconds on the clock. Last comes for how many molecules the fields that
both have agree with PyTorch Geometric's. The molecules are MassBank's from the data store, else the simulated set's.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mslitmus.chem.graph import ATOM_FIELDS, molecule_graph, molecule_graphs
from mslitmus.chem.molecule import parse
from mslitmus.data import store
from mslitmus.data.simulate import simulate
from mslitmus.errors import DataError
from mslitmus.models.predict import parallel
from mslitmus.models.predict.features import FeatureStore
from mslitmus.models.predict.graph_features import GraphFeaturiser, PathFeaturiser


def molecules(most: int) -> list[str]:
    """Distinct SMILES, in an order that does not depend on the library's."""
    try:
        frame = store.load("massbank").frame()
    except DataError:
        frame = simulate()
    distinct = frame["smiles"].drop_nulls().unique().sort()
    return distinct.sample(min(most, len(distinct)), shuffle=True, seed=0).to_list()


def pyg() -> Callable[[str], Any]:
    """PyTorch Geometric's `from_smiles`, imported late: processes that compute features import this script."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.utils import from_smiles
    return from_smiles


def rate(work: Callable[[Sequence[str]], Any], smiles: Sequence[str]) -> float:
    """Molecules per second of processor time, the better of two."""
    work(smiles[:20])
    seconds = []
    for _ in range(2):
        started = time.process_time()
        work(smiles)
        seconds.append(time.process_time() - started)
    return len(smiles) / min(seconds)


def clock(featuriser: Any, smiles: Sequence[str], processes: int) -> float:
    """Seconds until a new store has features of all, in processes even where that does not pay."""
    parallel.START = 0.0
    started = time.perf_counter()
    FeatureStore(featuriser, processes=processes).get(smiles)
    return time.perf_counter() - started


def agreement(smiles: Sequence[str], from_smiles: Callable[[str], Any]) -> int:
    """Molecules whose degree, charge, hydrogens, aromaticity, ring membership and bonds are those of PyG's graph."""
    fields = list(ATOM_FIELDS)
    equal = 0
    for text in smiles:
        ours, theirs = molecule_graph(text), from_smiles(text)
        x, column = theirs.x.numpy(), {name: ours.atoms[:, k].astype(int) for k, name in enumerate(fields)}
        same = (
            np.array_equal(column["degree"], np.minimum(x[:, 2] - x[:, 4], 6))  # theirs counts hydrogens
            and np.array_equal(column["charge"], np.clip(x[:, 3] - 5 + 3, 0, 6))
            and np.array_equal(column["hydrogens"], np.minimum(x[:, 4], 4))
            and np.array_equal(column["aromatic"], x[:, 7])
            and np.array_equal(column["ring"] > 0, x[:, 8] == 1)
        )
        bonds = {(*e, int(c)) for e, c in zip(ours.edges.tolist(), ours.bonds[:, 1], strict=True)}
        pairs = zip(theirs.edge_index.T.tolist(), theirs.edge_attr[:, 2].tolist(), strict=True)
        equal += same and bonds == {(*e, c) for e, c in pairs}
    return equal


def chemprop() -> Callable[[Sequence[str]], Any] | str:
    """chemprop's featuriser, or why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
    except ImportError as error:
        return f"not measured: {error}"
    featurise = SimpleMoleculeMolGraphFeaturizer()
    return lambda smiles: [featurise(parse(text)) for text in smiles]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=3000)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    smiles, from_smiles = molecules(args.molecules), pyg()
    theirs = rate(lambda texts: [from_smiles(text) for text in texts], smiles)
    version = importlib.metadata.version
    print(f"{len(smiles):,} molecules, RDKit {version('rdkit')}; molecules per second of processor time")
    print(
        f"| way | rate | × |\n|---|---|---|\n| PyG {version('torch_geometric')} `from_smiles` | {theirs:,.0f} | 1.0 |"
    )
    ways: dict[str, Callable[[Sequence[str]], Any]] = {
        "RDKit's parser alone": lambda texts: [parse(text) for text in texts],
        "graphs": molecule_graphs,
        "graphs, one call a molecule": lambda texts: [molecule_graph(text) for text in texts],
        "graphs and shortest paths": PathFeaturiser().compute,
    }
    peer = chemprop()
    if isinstance(peer, str):
        print(f"| chemprop | {peer} | |")
    else:
        ways[f"chemprop {version('chemprop')}"] = peer
    for name, work in ways.items():
        found = rate(work, smiles)
        print(f"| {name} | {found:,.0f} | {found / theirs:.1f} |", flush=True)
    for featuriser in (GraphFeaturiser(), PathFeaturiser()):
        here, there = (clock(featuriser, smiles, n) for n in (1, args.processes))
        print(
            f"{featuriser.key}: {here:.1f} s on the clock, {there:.1f} s in {args.processes} processes, start included"
        )
    sample = smiles[:1000]
    same = agreement(sample, from_smiles)
    print(f"degree, charge, hydrogens, aromaticity, rings and bonds as PyG has them: {same} of {len(sample)}")


if __name__ == "__main__":
    main()
