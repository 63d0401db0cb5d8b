"""Which databases the resources of a stack are about, and which ones its drills overwrite: none may be both."""

from __future__ import annotations

DRILLS_OVERWRITE = "a drill overwrites everything that the scratch database holds, each time"


class Uses:
    """What a process knows of it: the program's has all that is declared, a provider's has what the engine asks about."""

    def __init__(self) -> None:
        self._used: dict[str, str] = {}
        self._overwritten: dict[str, str] = {}

    def remember_use(self, database_id: str, resource: str) -> str:
        """Remember that a resource is about the data of a database; returns why it must not be, empty if it may."""
        self._used.setdefault(database_id, resource)
        drill = self._overwritten.get(database_id)
        return f"must not be the scratch database of {drill}, which overwrites it" if drill else ""

    def remember_overwriting(self, database_id: str, drill: str) -> str:
        """Remember that a drill overwrites a database; returns why it must not, empty if it may."""
        self._overwritten.setdefault(database_id, drill)
        resource = self.used_by(database_id)
        return in_use(resource) if resource else ""

    def used_by(self, database_id: str) -> str | None:
        """A resource that is about the data of a database; None if this process knows of none."""
        return self._used.get(database_id)


def in_use(resource: str) -> str:
    """Why a database must not be overwritten by drills."""
    return f"must be a database for drills only, and {resource} is about it: {DRILLS_OVERWRITE}"
