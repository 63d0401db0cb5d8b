"""What the emulated service receives and sends over HTTP.

Routes, answers, downloads, faults on the wire.
"""
