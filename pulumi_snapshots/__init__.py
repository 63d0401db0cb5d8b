"""Database snapshots of Square Cloud as Pulumi resources."""
