"""The plugin's side of the provider protocol, which the engine speaks to it."""
