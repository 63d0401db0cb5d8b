"""What a test or a demo may do to the emulated service: in Python, over HTTP, and from a browser."""
