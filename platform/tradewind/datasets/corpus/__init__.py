"""Files become the shards of a dataset: found, deduplicated, split, encoded and packed, here or as a Ray Data job."""
