"""Bytes under keys that are never used twice."""
