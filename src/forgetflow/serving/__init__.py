"""Using a model: predictions, and a network frozen as an extractor."""
