"""Keeping the storage in order beside running work: retention, erasure, sweeping, and care for the tables."""
