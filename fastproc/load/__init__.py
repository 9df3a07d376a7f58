"""A load test: jobs added by a plan, to embedded servers or to a running deployment, and what came of them."""
