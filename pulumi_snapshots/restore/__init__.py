"""Restores of a snapshot into a database, each once."""
