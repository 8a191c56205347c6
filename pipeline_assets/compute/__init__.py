"""Where the kernel meets the storage: each function brings one unit, or some days, up to date."""
