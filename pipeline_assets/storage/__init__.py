"""Where things are and how they change: landing, manifests, Parquet parts, Delta tables, the ledger."""
