"""The state of the emulated service and the rules by which it changes.

No HTTP, and no data of databases.
"""
