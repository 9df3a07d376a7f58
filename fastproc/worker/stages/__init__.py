"""The stages of the pipeline, one file each: one question asked of the source, one part of the report."""
