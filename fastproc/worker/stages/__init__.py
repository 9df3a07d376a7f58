"""The built-in stages of the pipeline, one file each: one question about the source, one part of the report."""
