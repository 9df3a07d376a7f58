"""The supervisor process: all I/O, no pixels."""
