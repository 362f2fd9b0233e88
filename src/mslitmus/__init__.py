"""mslitmus: train, compare, use and catch out models of small-molecule tandem mass spectra (MS/MS).

Data moves one way: records → dataset → split → task view → model → predictions → scores → findings → report,
and between two stages lies a file keyed by identifier. Importing this package is cheap (no torch, no RDKit).
"""

__version__ = "0.1.0"
