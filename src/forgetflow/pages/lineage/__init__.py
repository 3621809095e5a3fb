"""The family tree of models as a page."""
