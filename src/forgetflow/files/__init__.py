"""Writing whole files or nothing, and reading them back."""
