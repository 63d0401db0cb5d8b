"""The plugin's resources, as Python programs declare them; each has a module of its own, since most programs have few."""
