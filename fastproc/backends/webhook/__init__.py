"""Carries events to receivers by signed HTTP requests, at least once: outbox, deliveries, requests, addresses."""
