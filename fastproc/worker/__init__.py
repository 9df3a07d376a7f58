"""The worker process: CPU only. It holds one socket and no credentials."""
