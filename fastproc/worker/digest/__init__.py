"""A photo in a few bytes, computed from its pixels: BlurHash, ThumbHash, the cosine transform."""
