"""What is computed about colours without an imaging library: profiles, curves, tone mapping, statistics."""
