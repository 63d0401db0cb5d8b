"""A run against the real service that settles what the service's documents leave open.

The command `probe` starts it.
"""
