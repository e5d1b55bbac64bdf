"""Moorage: a managed private registry."""
