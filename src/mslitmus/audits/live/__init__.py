"""What audits of a live model share: a sample of queries, edits of them, and what the edits do to answers and score.

sample    which queries are asked, and the cells that can be asked
peaks     edits of measured peaks: permuted, binarised, thinned, shifted, noisy
swaps     another query's spectrum, molecule or metadata
answers   how far two answers to one query lie apart
changes   an edit → change of answers and score, with an interval over molecules
verdict   what may be concluded of a change
connect   a command line or a Python object as something that can be asked
"""
