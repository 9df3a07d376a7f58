"""Real servers as child processes (Valkey, SeaweedFS), for the demo, the tests and the benchmarks."""
