"""What the package is: its resources and functions, their schema and examples, and who publishes it."""
