"""The lists of resources and lookups: what follows from their definitions is made.

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
LOOKUPS = {
    "get_snapshots": "SNAPSHOTS",
    "get_latest_snapshot": "LATEST",
    "get_download_url": "DOWNLOAD_URL",
    "get_database": "DATABASE",
    "get_databases": "DATABASES",
}
"""The definition of each lookup in `lookup.results`, by the name of its function in Python."""
LOOKUP_FUNCTIONS = (*LOOKUPS, *(f"{name}_output" for name in LOOKUPS))
"""The functions of programs: a lookup has a second one, for arguments that are outputs."""


def room_of(name: str) -> str:
    """Return the folder of a resource.

    Args:
        name: the resource, such as `Snapshot`.
    """
    return RESOURCES[name].partition(":")[0].partition(".")[0]
