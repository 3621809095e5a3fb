"""The names under which everything is stored: digests of values, records and code."""
