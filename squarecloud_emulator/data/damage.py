"""What is wrong with a snapshot's data although the service says that all is well.

For tests of a drill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

OTHER_ENGINE = (
    b"DUMP-OF-ANOTHER-ENGINE 11\n\x00\xfa\x09another-ver\x057.0.0;\xff\x00`'\n"
)
"""No dump that any of the engines reads."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """How a snapshot's data differs from the database's.

    Exactly one of these.

    Attributes:
        kind: "truncated": the second half is missing; "empty": of a database without anything;
            "other engine": a dump that
            the database's engine cannot read.
        statements: commands that are run on the copy in the snapshot, not on the database: they
            drop tables, delete rows,
            or garble text.
        of_version: the data is that of this earlier snapshot.

    """

    kind: Literal["truncated", "empty", "other engine"] | None = None
    statements: tuple[str, ...] = ()
    of_version: str | None = None

    def __post_init__(self) -> None:
        """Refuse a damage that says nothing, or two things.

        Raises:
            ValueError: See there.
        """
        if sum(map(bool, (self.kind, self.statements, self.of_version))) != 1:
            raise ValueError(
                "a damage is exactly one of kind, statements and of_version"
            )


def cut(dump: Path) -> None:
    """Remove the second half of a file."""
    with dump.open("r+b") as file:
        file.truncate(dump.stat().st_size // 2)
