"""One snapshot before anything else changes, taken once in a run."""
