"""Blind controls: what a ranking or a fingerprint is worth that never looks at the spectrum."""
