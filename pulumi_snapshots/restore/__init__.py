"""Restores: putting a snapshot back into a database, once."""
