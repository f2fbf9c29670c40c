"""A package, so that no other top-level package of this name (torch-fidelity brings one) stands in its place."""
