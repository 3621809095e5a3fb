"""The command line: every verb is a few lines over the rooms below."""
