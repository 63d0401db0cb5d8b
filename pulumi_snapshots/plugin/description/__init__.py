"""What the package is.

Its resources and functions, their schema and examples, and who publishes it.
"""
