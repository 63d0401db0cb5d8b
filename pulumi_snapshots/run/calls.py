"""What an engine asks of a resource, and how each call may end; the adapters translate, the resources decide.

Inputs and outputs are plain values by their Python names, `UNKNOWN` where a preview does not know one. Programs load this
file, so it loads nothing that speaks HTTP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.errors.outcomes import Unresolved, sentence
from pulumi_snapshots.errors.pages import with_address
from pulumi_snapshots.run.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pulumi_snapshots.errors.outcomes import R
    from pulumi_snapshots.progress import Listener
    from pulumi_snapshots.properties.checks import Problem
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.run.settings import Settings
    from pulumi_snapshots.run.shared import Shared

__all__ = ["Call", "Calls", "Changes", "Failed", "Resource", "Unfinished", "failing", "keeping"]


@dataclass(frozen=True)
class Call:
    """What surrounds one call.

    Attributes:
        owner: the resource's URN; None where it cannot be known.
        settings: reads them; raises SettingsError. Late, since what sends nothing works with bad ones.
        shared: what the resources of this process share.
        listener: hears how it goes.
    """

    owner: str | None
    settings: Callable[[], Settings]
    shared: Shared
    listener: Listener

    def session(self) -> Session:
        """The service; in the event loop only.

        Raises:
            SettingsError: a setting cannot be used, or there is no key.
        """
        settings = self.settings()
        settings.required_key()
        return self.shared.session(settings)


@dataclass(frozen=True)
class Resource:
    """A resource as the state keeps it: all outputs, inputs among them, since what is left out would be lost."""

    id: str
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Changes:
    """What new inputs, or time, mean for a resource.

    Attributes:
        replaces: the properties because of which another one is made; the old one is deleted after that.
        updates: the properties because of which an update has something to do.
    """

    replaces: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()


class Failed(Exception):
    """A call that failed; `str()` is one paragraph for the user, which leads to its cause's page. The state stays as it was."""

    def __str__(self) -> str:
        return with_address(super().__str__(), self)


class Unfinished(Exception):
    """A call that did not come to its end, and whose resource must be kept; the next run reads it first.

    Attributes:
        resource: as far as it is known.
    """

    def __init__(self, resource: Resource, reason: str, *, unkept: str | None) -> None:
        super().__init__(reason)
        self.resource = resource
        self._reason = reason
        self._unkept = unkept

    @property
    def reason(self) -> str:
        """The paragraph for the user; it leads to its cause's page."""
        return with_address(self._reason, self)

    @property
    def unkept(self) -> str | None:
        """What to fail with where an engine cannot be handed an unfinished resource.

        None where the state holds it already and nothing has failed.
        """
        return None if self._unkept is None else with_address(self._unkept, self)


class Calls(ABC):
    """What the engine can ask of one kind of resource.

    Attributes:
        inputs: the names of all inputs.
        computed: those of them that the outputs hold also where they were not given.
        secrets: the properties that the state encrypts and nothing shows.
    """

    inputs: tuple[str, ...]
    computed: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()

    def check(self, call: Call, values: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with the inputs, without a request.

        Raises:
            Failed: the configuration cannot be used.
        """
        with failing(SettingsError):
            call.settings()
        return self.problems(values)

    @abstractmethod
    def problems(self, values: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with the inputs themselves."""

    @abstractmethod
    def diff(self, call: Call, state: Mapping[str, Any], values: Mapping[str, Any]) -> Changes:
        """Compare; remember what create and delete are not told.

        Args:
            call: what surrounds it.
            state: the outputs, inputs among them.
            values: the inputs now.
        """

    @abstractmethod
    async def create(self, call: Call, values: Mapping[str, Any]) -> Resource:
        """Make one.

        Raises:
            Failed: there is nothing to keep.
            Unfinished: there may be.
        """

    @abstractmethod
    async def read(self, call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """Refresh what the state holds; or, where it holds nothing, look up an existing one by its id.

        Raises:
            Failed: the state stays as it is.
            Unfinished: it still is.
        """

    @abstractmethod
    async def update(self, call: Call, id_: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """Go on with an unfinished one, or keep inputs that replace nothing.

        Returns:
            The resource; under another id than the state's where that is provisional, for a later read to set right.

        Raises:
            Failed: the state stays as it is.
            Unfinished: it still is.
        """

    @abstractmethod
    async def delete(self, call: Call, id_: str, state: Mapping[str, Any]) -> None:
        """Let it go; the last progress says what became of it.

        Raises:
            Failed: it is still there.
        """


@contextmanager
def failing(*expected: type[Exception], addition: str = "") -> Iterator[None]:
    """Fail as the body does, in one paragraph.

    Args:
        expected: errors whose texts are for users.
        addition: one more sentence.
    """
    try:
        yield
    except expected as error:
        raise _failed(error, addition) from error


@contextmanager
def keeping(
    call: Call,
    ends: type[Unresolved[R]],
    outputs: Callable[[R], dict[str, Any]],
    *expected: type[Exception],
    kept: tuple[str, R] | None = None,
    addition: str = "",
) -> Iterator[None]:
    """End the call as the body fails: unfinished where something must be kept, else failed.

    Args:
        call: whose it is.
        ends: how the body ends where something must be kept.
        outputs: of the resource, from its record.
        expected: errors whose texts are for users.
        kept: what the state holds already and must go on holding, whatever happens: id and record.
        addition: one more sentence where it failed.
    """

    def unfinished(end: Unresolved[R]) -> Unfinished:
        reason = end.reason(call.owner)
        if kept is None:
            return Unfinished(
                Resource(end.record.id, outputs(end.record)), reason, unkept=end.reason_unkept(call.owner)
            )
        # The state holds it already, and goes on holding it, whatever the engine can be handed.
        return Unfinished(Resource(kept[0], outputs(end.record)), reason, unkept=reason)

    try:
        yield
    except ends as end:
        raise unfinished(end) from end
    except expected as error:
        if kept is None:
            raise _failed(error, addition) from error
        # A resume that could not even begin (no key).
        raise unfinished(ends(kept[1], sentence(error))) from error


def _failed(error: Exception, addition: str) -> Failed:
    return Failed(f"{sentence(error)} {addition}".rstrip())
