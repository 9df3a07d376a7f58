"""Every setting: one file a room, all checked at once when a command starts."""
