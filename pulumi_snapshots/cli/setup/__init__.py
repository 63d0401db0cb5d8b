"""Commands that explain, check and install this tool, and probe the service."""
