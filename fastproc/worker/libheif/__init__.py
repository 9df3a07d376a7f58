"""A ctypes binding of libheif: its package's own Python layer knows no strict decoding and no warnings."""
