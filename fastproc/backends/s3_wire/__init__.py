"""Requests to an S3 server as bytes on connections: heads, transfers, the thread that moves them, the connections."""
