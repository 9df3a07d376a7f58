"""Where EXIF, XMP, IPTC and Content Credentials lie in each kind of file: bounded walks, nothing is searched."""
