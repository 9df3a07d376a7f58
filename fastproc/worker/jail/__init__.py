"""What shuts a worker in: limits, Landlock, seccomp, in the order that they need."""
