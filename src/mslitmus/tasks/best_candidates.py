"""What a page draws of a ranking: the best candidates of each query, and where the truth stands."""

from __future__ import annotations

import polars as pl

BEST = 5  # candidates that a page draws


def best_candidates(scored: pl.DataFrame, truth: pl.DataFrame, ranks: pl.DataFrame) -> pl.DataFrame:
    """identifier, candidates (SMILES) and candidate_scores of the best `BEST`, truth_rank, pool_size.

    Args:
        scored: identifier, candidate, score.
        truth: identifier, candidates, candidate_smiles.
        ranks: identifier, rank of the truth.
    """
    pairs = truth.select("identifier", candidate="candidates", smiles="candidate_smiles")
    named = scored.join(pairs.explode("candidate", "smiles"), on=["identifier", "candidate"])
    named = named.sort("identifier", "score", "candidate", descending=[False, True, False])
    best = named.group_by("identifier", maintain_order=True).agg(
        pl.col("smiles").head(BEST).alias("candidates"), pl.col("score").head(BEST).alias("candidate_scores")
    )
    sizes = truth.select("identifier", pool_size=pl.col("candidates").list.len().cast(pl.Int64))
    return best.join(ranks.select("identifier", truth_rank="rank"), on="identifier").join(sizes, on="identifier")
