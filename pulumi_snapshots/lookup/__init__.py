"""Lookups: which snapshots and databases there are."""
