"""Values of properties: durations, checks, and what is not known yet."""
