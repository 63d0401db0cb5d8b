"""Storage of the emulator's databases and their snapshots: in memory, in a folder, or at PostgreSQL."""
