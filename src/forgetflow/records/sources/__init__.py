"""Data sources: one file each, one registry line each."""
