"""The service on this machine, for tests, demos and trying things out."""
