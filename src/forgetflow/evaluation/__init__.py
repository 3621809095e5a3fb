"""Measures: one file each, one registry line here."""
