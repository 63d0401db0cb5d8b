"""One POST and its memory."""
