"""One object in a file or a bucket: its place, its store, its encryption, its credentials."""
