"""The connection between a command and its terminal.

Arguments and their completion, the invocation, and what is shown and in which words.
"""
