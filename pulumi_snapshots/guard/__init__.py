"""One snapshot before anything else changes: taken once in a run, and no guarded change goes past a failure."""
