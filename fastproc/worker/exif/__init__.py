"""EXIF, read with bounds: the TIFF structure, and the fields that may be published."""
