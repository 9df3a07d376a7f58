"""Real servers as child processes, for the demo, the tests and the benchmarks; the service needs none of it."""
