"""A run against the real service that settles what its documents leave open.

The command `probe` starts it.
"""
