"""What everything in one process shares."""
