"""Clients of what we do not run."""
