"""Where the emulator keeps the databases' data and the snapshots of it: in memory, in a folder, or at PostgreSQL."""
