"""What the machines of an account remember together: a bucket with conditional writes, or a folder with locks."""
