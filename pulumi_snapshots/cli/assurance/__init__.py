"""Commands that show whether every database is safe."""
