"""What a BullMQ consumer says to Redis: protocol (pure) and client (one method a script)."""
