"""The `Check` of a drill, as programs write it."""

from pulumi_snapshots.drill.check import Check
from pulumi_snapshots.program import naming_class

# As for a resource, an error about its arguments names the class.
Check.__init__ = naming_class("Check", Check.__init__)  # type: ignore[method-assign]  # of the same form
