"""One object in a file or a bucket, sealed or not: its place, its store and the credentials that reach it."""
