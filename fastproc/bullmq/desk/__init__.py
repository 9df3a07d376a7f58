"""The queue as an operator's desk: what is in it, one job in detail, and orders."""
