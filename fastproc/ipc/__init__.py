"""What crosses the process boundary: five messages, recycled shared memory, one socket."""
