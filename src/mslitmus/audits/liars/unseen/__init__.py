"""Liars and honest models written by somebody who had not seen the audits: what these are worth on tricks unknown."""

from __future__ import annotations

from ..liar import Liar
from .accession import ACCESSION
from .answer_cache import ANSWER_CACHE
from .best_of_seeds import BEST_OF_SEEDS
from .bit_calibrator import BIT_CALIBRATOR
from .borrowed_weights import BORROWED_WEIGHTS
from .cherry_picker import CHERRY_PICKER
from .far_decoys import FAR_DECOYS
from .generous_ties import GENEROUS_TIES
from .honest import UNSEEN_HONEST
from .kinder_average import KINDER_AVERAGE
from .peak_vocabulary import PEAK_VOCABULARY
from .pool_centre import POOL_CENTRE
from .pool_twins import POOL_TWINS
from .precursor_counted import PRECURSOR_COUNTED
from .regioisomers import REGIOISOMERS
from .rounded_up import ROUNDED_UP
from .tuned_energies import TUNED_ENERGIES

UNSEEN_LIARS: tuple[Liar, ...] = (
    POOL_CENTRE,
    FAR_DECOYS,
    TUNED_ENERGIES,
    POOL_TWINS,
    GENEROUS_TIES,
    CHERRY_PICKER,
    REGIOISOMERS,
    ANSWER_CACHE,
    BORROWED_WEIGHTS,
    ACCESSION,
    BEST_OF_SEEDS,
    KINDER_AVERAGE,
    BIT_CALIBRATOR,
    PEAK_VOCABULARY,
    PRECURSOR_COUNTED,
    ROUNDED_UP,
)

__all__ = ["UNSEEN_HONEST", "UNSEEN_LIARS"]
