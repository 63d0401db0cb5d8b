"""Commands that take, list and restore snapshots."""
