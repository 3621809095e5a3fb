"""The trainer, slice chains of checkpoints, and the models they make."""
