"""The worker processes as the supervisor sees them: started, fed, watched, and never trusted."""
