"""Snapshots: one folder for what the resource is, checks, does and remembers."""
