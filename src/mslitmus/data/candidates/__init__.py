"""Candidate sets: which molecules a spectrum could be of, and where each of them comes from."""

from __future__ import annotations

from .build import PoolSettings, build
from .lists import MoleculeList, dataset_list, import_list, make_list, molecule_list
from .massspecgym import from_json
from .quality import structure_auc
from .sets import CandidateSet, candidate_set, is_decoy, subsample

__all__ = [
    "CandidateSet",
    "MoleculeList",
    "PoolSettings",
    "build",
    "candidate_set",
    "dataset_list",
    "from_json",
    "import_list",
    "is_decoy",
    "make_list",
    "molecule_list",
    "structure_auc",
    "subsample",
]
