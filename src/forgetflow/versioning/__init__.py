"""DVC: versions of the training set, the forget manifests and the models."""
