"""The resources of the dynamic provider, as programs declare them; each has a module of its own, since most programs have few."""
