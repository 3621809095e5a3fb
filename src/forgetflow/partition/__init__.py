"""Who learns what: every record's shard and slice, as a pure function of the record alone."""
