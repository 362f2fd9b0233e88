"""Models by name. Listing names imports nothing; a name's module is imported when it is asked for.

A model is built by `MODELS[name](**options)`; unknown names and options are refused with the nearest known ones.
"""

from __future__ import annotations

from ..registry import Registry

_PREDICT = "mslitmus.models.predict"
_CONTROLS = "mslitmus.models.controls"
_BRIDGES = "mslitmus.models.bridges"

#: Whole models: what a study file names.
MODELS = Registry(
    "model",
    {
        "precursor-only": "mslitmus.models.baselines.precursor_only:PrecursorOnly",
        "nearest-molecule": "mslitmus.models.baselines.nearest_molecule:NearestMolecule",
        "nearest-spectrum": "mslitmus.models.baselines.nearest_spectrum:NearestSpectrum",
        "random-neighbour": "mslitmus.models.baselines.nearest_spectrum:RandomNeighbour",
        "best-molecule": "mslitmus.models.baselines.best_molecule:BestMolecule",
        "neural": f"{_PREDICT}.predictor:NeuralPredictor",
        "neims": "mslitmus.models.presets.neims:NEIMS",
        "massformer": "mslitmus.models.presets.massformer:MassFormer",
        "external": "mslitmus.models.external:External",
        "binned-mlp": "mslitmus.models.fingerprint.binned_mlp:BinnedMLP",
        "fingerprint-blend": "mslitmus.models.fingerprint.blend:FingerprintBlend",
        "fingerprint-transformer": "mslitmus.models.fingerprint.formula_transformer:FingerprintTransformer",
        "fingerprint-to-smiles": "mslitmus.models.generate.fingerprint_to_smiles:FingerprintToSmiles",
        "spectrum-to-smiles": "mslitmus.models.generate.spectrum_to_smiles:SpectrumToSmiles",
        "tuned-spectrum-to-smiles": "mslitmus.models.generate.tuning:TunedSpectrumToSmiles",
        "random-ranking": f"{_CONTROLS}.random_ranking:RandomRanking",
        "constant-ranking": f"{_CONTROLS}.constant_ranking:ConstantRanking",
        "first-candidate": f"{_CONTROLS}.first_candidate:FirstCandidate",
        "candidate-popularity": f"{_CONTROLS}.candidate_popularity:CandidatePopularity",
        "candidate-recurrence": f"{_CONTROLS}.candidate_recurrence:CandidateRecurrence",
        "smiles-style": f"{_CONTROLS}.smiles_style:SmilesStyle",
        "formula-only": f"{_CONTROLS}.formula_only:FormulaOnly",
        "structure-only": f"{_CONTROLS}.structure_only:StructureOnly",
        "mean-fingerprint": f"{_CONTROLS}.mean_fingerprint:MeanFingerprint",
        "formula-fingerprint": f"{_CONTROLS}.formula_fingerprint:FormulaFingerprint",
        "library-score": "mslitmus.models.baselines.library_score:LibraryScore",
        "library-chance": f"{_CONTROLS}.library_controls:LibraryChance",
        "library-accession": f"{_CONTROLS}.library_controls:LibraryAccession",
        "library-embedding": "mslitmus.models.embed.library_embedding:LibraryEmbedding",
        "library-combined": "mslitmus.models.embed.library_combined:LibraryCombined",
        "library-sum": "mslitmus.models.embed.library_sum:LibrarySum",
        "library-precursor": f"{_CONTROLS}.library_controls:LibraryPrecursor",
        "nearest-structure": "mslitmus.models.baselines.nearest_structure:NearestStructure",
        "random-structure": "mslitmus.models.baselines.nearest_structure:RandomStructure",
        "structure-blend": "mslitmus.models.generate.blend:StructureBlend",
        "best-structure": "mslitmus.models.baselines.nearest_structure:BestStructure",
        "rank-by-fingerprint": f"{_BRIDGES}.rank_by_fingerprint:RankByFingerprint",
        "rank-by-spectra": f"{_BRIDGES}.rank_by_spectra:RankBySpectra",
    },
)
#: Parts of `neural`: molecule → graph vector, atom states or none.
ENCODERS = Registry(
    "encoder",
    {
        "fingerprint": f"{_PREDICT}.encoders.fingerprint:FingerprintEncoder",
        "gcn": f"{_PREDICT}.encoders.gcn:GCNEncoder",
        "gat": f"{_PREDICT}.encoders.gat:GATEncoder",
        "gin": f"{_PREDICT}.encoders.gin:GINEncoder",
        "graphormer": f"{_PREDICT}.encoders.graphormer:GraphormerEncoder",
        "molconv": f"{_PREDICT}.encoders.molconv:MolConvEncoder",
        "molebert": f"{_PREDICT}.encoders.molebert:MoleBERTEncoder",
    },
)
#: Parts of `neural`: encoded molecule + conditions → intensities on bins (or formulae, or fragments).
HEADS = Registry(
    "head",
    {
        "binned": f"{_PREDICT}.heads.binned:BinnedHead",
        "bidirectional": f"{_PREDICT}.heads.bidirectional:BidirectionalHead",
        "formula": f"{_PREDICT}.heads.formula:FormulaHead",
        "fragment": f"{_PREDICT}.heads.fragment:FragmentHead",
    },
)
#: Training loops, which lie above the models in the import order: a model's `fit` finds its loop here by name.
TRAINERS = Registry("trainer", {"lightning": "mslitmus.train.loop:fit_trainable"})

__all__ = ["ENCODERS", "HEADS", "MODELS", "TRAINERS"]
