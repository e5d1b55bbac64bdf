"""The control plane: what customers order, and what the provider does with it."""
