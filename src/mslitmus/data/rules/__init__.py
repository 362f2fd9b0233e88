"""The rules of curation, one function each: a frame in, an `Outcome` out. `data.curate` runs and counts them."""
