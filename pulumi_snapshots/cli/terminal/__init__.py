"""How a command meets its terminal.

Arguments and their completion, the invocation, what is shown and in which words.
"""
