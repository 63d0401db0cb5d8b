"""What each kind of database offers: a connection that blocks, and the errors that `opening` turns into a user's."""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_snapshots.databases.scalars import Scalar


REASONS: dict[type[OSError], str] = {
    socket.gaierror: "its host name is not known",
    ConnectionRefusedError: "the connection was refused",
    TimeoutError: "no answer within {seconds:g} s",
    FileNotFoundError: "a file that the connection names does not exist",
    ConnectionError: "the connection broke",
}


class Refused(Exception):
    """The server did not carry out a command, or it was not sent; the text is the reason, and may hold secrets."""


class Lost(Exception):
    """There is no connection, or no more; the text is the reason, and may hold secrets."""


class Denied(Lost):
    """The server, or this machine, refuses this connection, and will refuse it again: a wrong password or certificate."""


class Session(ABC):
    """A connection to a server, which may raise `Refused` and `Lost`, and any error of its library.

    Args:
        dsn: the connection string.
        seconds: the time-out of connecting and of each command.
    """

    @abstractmethod
    def __init__(self, dsn: str, seconds: float) -> None: ...

    @property
    def is_open(self) -> bool:
        """Whether it can be asked; if not, another one is needed."""
        return True

    @abstractmethod
    def ask(self, command: str) -> Scalar:
        """The one value that a command results in; raises `NotOneValue` if it is none. It blocks, up to the time-out."""

    @abstractmethod
    def holds(self) -> int:
        """How many tables, collections or keys the database has."""

    @abstractmethod
    def age(self) -> float | None:
        """Seconds for which the server has run; None if it does not say."""

    @abstractmethod
    def interrupt(self) -> None:
        """Let a call of `ask` in another thread end with an error, soon."""

    @abstractmethod
    def close(self) -> None:
        """End the connection."""


def sever(descriptor: int) -> None:
    """Shut down the connection of a file descriptor, which lets a thread that waits for it end."""
    with suppress(OSError):  # it has ended by itself
        connection = socket.socket(fileno=descriptor)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        finally:
            connection.detach()


def sever_socket_of(connection: object) -> None:
    """Shut down the socket that a library keeps in a private attribute; without it, the library's time-out must pass."""
    own = getattr(connection, "_sock", None)
    if isinstance(own, socket.socket):
        sever(own.fileno())


def too_late(seconds: float) -> Refused:
    """The error of a command that took too long."""
    return Refused(f"no result within {seconds:g} s")


def failed(error: BaseException, seconds: float, said: str, *, broken: bool) -> Refused | Lost:
    """The error of a command, by that of a library, with the time-out, the library's words, and whether the connection broke."""
    if any(isinstance(each, TimeoutError) for each in _causes(error)):
        return too_late(seconds)
    return (Lost if broken else Refused)(network_reason(error, seconds) or said)


def not_connected(error: BaseException, seconds: float, said: str, *, denied: bool) -> Lost:
    """The error of a connection that could not be made, likewise, and whether the server refuses the login."""
    lasting = ssl.SSLCertVerificationError | FileNotFoundError
    denied = denied or any(isinstance(each, lasting) for each in _causes(error))
    return (Denied if denied else Lost)(network_reason(error, seconds) or said)


def network_reason(error: BaseException, seconds: float) -> str | None:
    """Why a server cannot be reached, in our words, by an error of a library; None if it is no common one."""
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({each.verify_message})"
        if isinstance(each, ssl.SSLError):
            return f"TLS failed ({(each.reason or 'the connection closed').replace('_', ' ').lower()})"
        for kind, reason in REASONS.items():
            if isinstance(each, kind):
                return reason.format(seconds=seconds)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        # PyMySQL keeps the first error in an attribute only.
        error = getattr(error, "original_exception", None) or error.__cause__ or error.__context__
