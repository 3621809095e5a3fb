"""The training set as Arrow: schema, sources, digests."""
