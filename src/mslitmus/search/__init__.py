"""Library search: files of spectra in, hits with a confidence out. The scores themselves are `spectra.library`'s."""
