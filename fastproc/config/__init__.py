"""Every setting: one file a room, checked all at once when a command starts."""
