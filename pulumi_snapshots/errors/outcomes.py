"""How an operation can end without what it was to bring, besides the service's own errors; the texts that users read then."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, Protocol, TypeVar

__all__ = [
    "OLD_CONFIGURATION",
    "CannotTell",
    "NoSuchSnapshot",
    "NothingSent",
    "Unresolved",
    "not_listed",
    "sentence",
]


class _Record(Protocol):
    """What the state keeps."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_Record)
OLD_CONFIGURATION = "A refresh uses the configuration of the last `pulumi up`: if it was changed since, run `pulumi refresh --run-program`."
"""What a refresh that fails over its key or settings must add: setting them right does not reach it."""


class Unresolved(Exception, Generic[R]):
    """Something was started, or may have been, and its end is not known. It must be kept.

    Args:
        record: what is known, to be kept under its provisional id.
        happened: what was sent, what came of it, and why the wait ended; sentences.
        undecided: whether going on to wait would only end the same way.
    """

    def __init__(self, record: R, happened: str, *, undecided: bool = False) -> None:
        super().__init__(happened)
        self.record = record
        self.happened = happened
        self.undecided = undecided

    @abstractmethod
    def reason(self, resource: str | None) -> str:
        """The paragraph for the user.

        Args:
            resource: the name to give to `--replace`; None where it is not known.
        """

    @abstractmethod
    def reason_unkept(self, resource: str | None) -> str:
        """The same where there is no way to keep it in the state.

        Args:
            resource: the resource's name, by which this machine remembers it; None where it is not known.
        """


class NothingSent(Exception):
    """The time was over, or it was interrupted, before anything was started; there is nothing to keep."""


class NoSuchSnapshot(Exception):
    """A snapshot that was asked for by its id is not there."""


class CannotTell(Exception):
    """A lookup was answered, but not so that its question has a certain answer; the text says why, and what to do."""


def not_listed(database_id: str, version_id: str) -> str:
    """What to say of a snapshot that was asked for and that no listing shows."""
    return (
        f"The service lists no snapshot {version_id} of database {database_id}. It keeps one for 30 days; one that was "
        "taken within the last 30 minutes may not be listed yet."
    )


def sentence(error: Exception) -> str:
    """The text of an error, as a sentence."""
    text = str(error)
    if text.partition(" ")[0].isalpha():  # an id or a setting's name stays as it is written
        text = text[:1].upper() + text[1:]
    return text + ("" if text.endswith(".") else ".")
