"""Pretraining of graph encoders on molecules alone: Mole-BERT's tokens, masked atoms and contrast of maskings.

`molecules` says who may take part, `tokeniser` and `masked_atoms` are the two stages, `run` joins them, `folder` keeps
the record. Molecules and folder work without torch.
"""
