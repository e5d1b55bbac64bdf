"""Durable work: what is promised in a transaction and kept after it."""
