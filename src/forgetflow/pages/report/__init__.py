"""The report over all generations."""
