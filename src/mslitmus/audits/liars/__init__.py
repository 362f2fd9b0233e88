"""Liars: planted cheats, and honest models beside them, for measuring what the audits catch and whom they accuse.

One file a trick or a family of tricks. `plant_models` makes their models known by name for this process alone: no study
finds them otherwise. The laboratory that runs them is `mslitmus.studies.liars`; docs/audits/liars.md tells the stories.
"""

from __future__ import annotations

from ...models import MODELS
from .blind_to_intensity import INTENSITY_BLIND
from .claimed import NARROW, SPECTRA, THRESHOLDS
from .company import BATCH_MEAN, CARRIED_STATE, STALE_BUFFER
from .conditions import DECIMAL_READER, INSTRUMENT_READER
from .formula_leak import FORMULA_LEAK
from .honest import HONEST
from .identifiers import ANSWER_KEY, NAME_READER
from .leaked import MEMORISER, NEAR_DUPLICATE
from .liar import Honest, Liar, World
from .popularity import POPULARITY
from .position import POSITION
from .precursor_copy import MASS_NEIGHBOUR, PRECURSOR_COPIER
from .pretrained_list import PRETRAINED_LIST
from .skipper import SKIPPER
from .spelling import SPELLING
from .structure_prior import STRUCTURE_PRIOR
from .test_tuned import TEST_TUNED

LIARS: tuple[Liar, ...] = (
    POSITION,
    SPELLING,
    POPULARITY,
    STRUCTURE_PRIOR,
    FORMULA_LEAK,
    NAME_READER,
    ANSWER_KEY,
    PRETRAINED_LIST,
    MEMORISER,
    NEAR_DUPLICATE,
    SKIPPER,
    NARROW,
    THRESHOLDS,
    SPECTRA,
    BATCH_MEAN,
    STALE_BUFFER,
    CARRIED_STATE,
    INTENSITY_BLIND,
    INSTRUMENT_READER,
    DECIMAL_READER,
    TEST_TUNED,
    PRECURSOR_COPIER,
    MASS_NEIGHBOUR,
)
_MODELS = {
    "plain-ranker": "ranker:PlainRanker",
    "noisy-ranker": "honest:NoisyRanker",
    "position-scorer": "position:PositionScorer",
    "spelling-scorer": "spelling:SpellingScorer",
    "popularity-ranker": "popularity:PopularityRanker",
    "structure-prior": "structure_prior:StructurePrior",
    "formula-leaker": "formula_leak:FormulaLeaker",
    "name-reader": "identifiers:NameReader",
    "answer-key": "identifiers:AnswerKey",
    "pretrained-ranker": "pretrained_list:PretrainedRanker",
    "skipper": "skipper:Skipper",
    "plain-look-up": "company:Alone",
    "batch-mean": "company:BatchMean",
    "stale-buffer": "company:StaleBuffer",
    "carried-state": "company:CarriedState",
    "intensity-blind": "blind_to_intensity:IntensityBlind",
    "instrument-reader": "conditions:InstrumentReader",
    "decimal-reader": "conditions:DecimalReader",
    "test-tuned": "test_tuned:TestTuned",
    "precursor-copier": "precursor_copy:PrecursorCopier",
    "mass-neighbour": "precursor_copy:MassNeighbour",
}
#: Of the folder `unseen`: written without a look at the audits.
_UNSEEN = {
    "pool-centre": "pool_centre:PoolCentre",
    "tuned-energies": "tuned_energies:TunedEnergies",
    "pool-twins": "pool_twins:PoolTwins",
    "step-ranker": "generous_ties:StepRanker",
    "answer-cache": "answer_cache:AnswerCache",
    "borrowed-weights": "borrowed_weights:BorrowedWeights",
    "accession-neighbour": "accession:AccessionNeighbour",
    "seeded-look-up": "best_of_seeds:Seeded",
    "bit-calibrator": "bit_calibrator:BitCalibrator",
    "peak-vocabulary": "peak_vocabulary:PeakVocabulary",
    "abstaining-ranker": "honest_rankers:Abstainer",
    "undecided-ranker": "honest_rankers:Undecided",
    "heavy-tailed-ranker": "honest_rankers:HeavyTailed",
    "look-up-ensemble": "honest_fingerprints:Ensemble",
    "instrument-wise": "honest_fingerprints:InstrumentWise",
    "element-regression": "honest_fingerprints:ElementRegression",
    "blended-neighbours": "honest_spectra:BlendedNeighbours",
    "loss-rules": "honest_spectra:LossRules",
}


def plant_models() -> None:
    """Register the models of liars in this process."""
    for name, target in (_MODELS | {name: f"unseen.{target}" for name, target in _UNSEEN.items()}).items():
        MODELS.register(name, f"{__name__}.{target}")


__all__ = ["HONEST", "LIARS", "Honest", "Liar", "World", "plant_models"]
