"""Faults: rules by which the emulator misbehaves on chosen requests.

The gateway carries them out.
"""

import random
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from squarecloud_emulator.service.ranges import COUNT, SECONDS, SIZE, refuse_any_outside
from squarecloud_emulator.service.request_journal import KINDS

_EFFECTS = (
    "status",
    "drop",
    "no_connect",
    "html",
    "truncated",
    "malformed",
    "empty",
    "huge",
    "redirect",
    "body",
    "cut_after",
)


_STATUS = (100, 599)
_RANGES: dict[str, tuple[float, float]] = {
    "skip": COUNT,
    "times": COUNT,
    "probability": (0, 1),
    "delay": SECONDS,
    "status": _STATUS,
    "html": _STATUS,
    "huge": SIZE,
    "body_status": _STATUS,
    "cut_after": COUNT,
}
"""The least and the largest right number of each field."""


@dataclass(kw_only=True)
class Fault:
    """A rule: which requests it strikes, how often, and its one effect, with or without a `delay`.

    Or a `delay` alone.

    `when="before"`: the request is never applied. `when="after"`: it is applied first; if it is a
    POST that starts something, the effect comes as soon as that has started (plus `delay`), while
    the service continues the work. Effects on the service's own answer (`truncated`, `cut_after`,
    `delay` alone) always let the request through.

    Raises:
        ValueError: There is no such kind of request; there is no effect, or more than one; or a
            number is out of its range.
    """

    # A misspelt field in a control request is an error.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    # Which requests. None matches all.
    kind: str | None = None
    method: str | None = None
    database_id: str | None = None
    # How often.
    skip: int = 0  # this many matching requests pass first
    times: int | None = 1  # None: for ever
    probability: float = 1.0
    when: Literal["before", "after"] = "before"
    # The effect.
    delay: float = 0.0  # seconds of the service's time
    status: int | None = None  # an envelope with this status, `code` and `message`
    code: str | None = None
    message: str | None = None
    drop: bool = False  # the connection closes without a byte
    # the connection is refused, if the transport is in-process; otherwise it is dropped
    no_connect: bool = False
    html: int | None = None  # a proxy's page with this status
    truncated: bool = False  # the answer's JSON ends in the middle
    malformed: bool = False  # a 200 whose body is not JSON
    empty: bool = False  # a 200 with an empty body
    huge: int | None = None  # a 200 with a body of this many bytes
    redirect: str | None = None  # a 302 to this URL
    body: str | None = None  # this body, with `body_status` and `headers`
    body_status: int = 200
    # the answer's head and this many bytes of its body, then the connection closes
    cut_after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)  # added to the answer
    name: str = ""

    def __post_init__(self) -> None:
        refuse_any_outside(self, _RANGES)
        if self.kind is not None and self.kind not in KINDS:
            raise ValueError(f"a fault strikes {', '.join(KINDS)}, not {self.kind}")
        self.effect = self._only_effect()
        if not self.name:
            beside = "delay" if self.delay else "headers"
            self.name = f"{self.effect or beside} {self.when}"

    def _only_effect(self) -> str | None:
        """The effect; None for a delay or headers alone."""
        effects = [
            name for name in _EFFECTS if getattr(self, name) not in (None, False)
        ]
        if len(effects) > 1:
            raise ValueError(f"one effect to a fault, not {', '.join(effects)}")
        if not effects and not self.delay and not self.headers:
            raise ValueError("a fault needs an effect")
        return effects[0] if effects else None

    def matches(
        self,
        kind: str,
        method: str,
        database_id: str | None,
        at: Literal["connect", "answer", "either"],
    ) -> bool:
        """Tell whether the rule is about a request; see `Faults.take`."""
        is_refusal = at == "connect"
        return (
            (at == "either" or self.no_connect == is_refusal)
            and self.kind in (None, kind)
            and self.method in (None, method)
            and self.database_id in (None, database_id)
            and self.times != 0
        )

    @property
    def needs_the_answer(self) -> bool:
        """Whether the effect works on what the service itself answers."""
        return self.effect in (None, "truncated", "cut_after")


class Faults:
    """The rules in force. Chance comes from the seed alone, so that a run can be repeated."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"faults of {seed}")  # noqa: S311 - repeatable, not secret
        self.rules: list[Fault] = []

    def take(
        self,
        kind: str,
        method: str,
        database_id: str | None,
        *,
        at: Literal["connect", "answer", "either"] = "either",
    ) -> Fault | None:
        """The first rule that strikes this request; its counters change.

        A transport that can refuse connections calls this first with "connect", for the rules that
        refuse one. The app then calls it with "answer", for the others. So no rule counts a
        request twice.
        """
        for rule in self.rules:
            if not rule.matches(kind, method, database_id, at):
                continue
            if rule.probability < 1 and self._chance.random() >= rule.probability:
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            if rule.times is not None:
                rule.times -= 1
            return rule
        return None
