"""Consumes BullMQ queues: the wire as values, the connections to Redis, and the queue over them."""
