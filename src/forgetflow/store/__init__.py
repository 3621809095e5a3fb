"""Checkpoints under content keys."""
