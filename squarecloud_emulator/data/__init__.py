"""Storage of the emulator's databases and their snapshots.

In memory, in a folder, or at PostgreSQL.
"""
