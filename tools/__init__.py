"""What the Makefile runs: the demo, the UIs, stopping and cleaning up."""
