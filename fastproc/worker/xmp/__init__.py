"""XMP, read with bounds from an untrusted packet, and written for a copy that keeps its rights."""
