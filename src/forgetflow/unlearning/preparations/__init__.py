"""What methods presuppose of trained constituents: one file each."""
