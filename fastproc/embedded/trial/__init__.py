"""A service on trial: faults are made for it, and it is judged from outside; for the chaos tests and the soak bench."""
