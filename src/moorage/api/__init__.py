"""HTTP, in the callers' dialects."""
