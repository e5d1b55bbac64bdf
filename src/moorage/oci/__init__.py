"""The specs' vocabulary: digests, names, descriptors, manifests, ranges, error codes. Pure values, no I/O."""
