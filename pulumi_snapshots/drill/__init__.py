"""Proof that a snapshot restores: it is restored onto a scratch database, and checks ask it."""
