"""Moorage: a managed private registry."""

__version__ = "0.1.0"
