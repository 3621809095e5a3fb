"""Many models of one procedure, one per seed, kept by member."""
