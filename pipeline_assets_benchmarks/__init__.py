"""How fast the pipeline is, beside others that read the same logs; see `docs/benchmarks.md`."""
