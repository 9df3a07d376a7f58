"""What shuts a worker in: limits, Landlock and seccomp, in the order that they need."""
