"""Procedures judged by pools of models; one file a measure."""
