"""The specs' vocabulary: digests, names, manifests, ranges, errors. Pure values, no I/O."""
