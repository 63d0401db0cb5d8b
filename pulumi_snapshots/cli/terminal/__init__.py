"""How a command meets its terminal: arguments and their completion, the invocation, what is shown and in which words."""
