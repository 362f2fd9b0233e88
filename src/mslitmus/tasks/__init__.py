"""Tasks: one file each, what is visible, what is the target, which metrics."""

from ..registry import Registry

TASKS = Registry(
    "task",
    {
        "spectrum-prediction": "mslitmus.tasks.spectrum_prediction:SpectrumPrediction",
        "fingerprint": "mslitmus.tasks.fingerprint:Fingerprint",
        "retrieval": "mslitmus.tasks.retrieval:Retrieval",
        "generation": "mslitmus.tasks.generation:Generation",
        "library-search": "mslitmus.tasks.library_search:LibrarySearch",
    },
)
