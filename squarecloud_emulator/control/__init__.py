"""What a test or a demo may do to the emulated service.

In Python, over HTTP, and from a browser.
"""
