"""One POST that starts something: sending it once, and finding it again after a kill."""
