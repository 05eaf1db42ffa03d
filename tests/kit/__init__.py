"""Real processes, real browsers and real files for end-to-end and interop tests, the demo and the benchmarks."""
