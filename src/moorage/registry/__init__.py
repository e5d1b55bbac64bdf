"""The registry plane: what a registry holds and what may be done with it."""
