"""Real processes, fault tools, benchmarks."""
