"""Learned embeddings of spectra: a spectrum becomes a unit vector, and like spectra lie close together."""
