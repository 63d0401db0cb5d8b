"""The list of resources: a new one needs a line here, and what follows from its definition is made.

Any process loads this module first, so it imports nothing.
"""

RESOURCES = {
    "Snapshot": "snapshot.record:SNAPSHOT",
    "Restore": "restore.record:RESTORE",
    "Archive": "archive.record:ARCHIVE",
    "Drill": "drill.record:DRILL",
}
"""The definition of each resource, what it takes and gives, by its name in every language.

What it does is in the file `difference` of the same room, in the class `NAMERules`.
"""


def room_of(name: str) -> str:
    """Return the folder of a resource.

    Args:
        name: the resource, such as `Snapshot`.
    """
    return RESOURCES[name].partition(":")[0].partition(".")[0]
