"""The pure parts of the load test."""
