"""`params.yaml` as typed settings, a file per block; where things lie in a project."""
