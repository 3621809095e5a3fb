"""A project driven from Python."""
