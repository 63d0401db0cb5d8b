"""A run against the real service that settles what its documents leave open; the command `probe` starts it."""
