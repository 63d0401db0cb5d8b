"""The settings, the session and the other objects that everything in a process shares."""
