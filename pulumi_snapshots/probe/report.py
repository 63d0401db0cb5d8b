"""The report of a run: the verdict on each fact, each answer without what is secret, and what is left at the service."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pulumi_snapshots.errors import Explained
from pulumi_snapshots.probe.facts import FACTS, NEVER, PUBLISHED
from pulumi_snapshots.service.client import Answer
from pulumi_snapshots.state_directory import written_whole

Truth = bool | None
"""Of a fact; None for open."""
VERDICTS: dict[Truth, str] = {True: "confirmed", False: "contradicted", None: "open"}
SHORTEST_SECRET = 12
"""Characters; what is shorter is no key, no signature and no query, and its removal would make the report unreadable."""
VERSION = 1
"""Of the form of the JSON."""


class ReportUnwritable(Explained):
    """The report cannot be written, so the run sends nothing more."""


OF_EACH = {"verdict": VERDICTS[None], "seen": ""}


@dataclass
class Report:
    """The report, in the order of its JSON; times are the service's, in UTC."""

    file: Path
    """Written after each change, so that the file of a killed run says as much as was known."""
    began: str
    state: str = "running"
    step: str = ""
    why: str = ""
    """Why the run ended early."""
    listing_cache: str = ""
    """The value for the setting; empty if it was not found out."""
    left: dict[str, str] = field(default_factory=dict)
    """What is left at the service: sentences, by what they are of."""
    facts: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {n: {"fact": told, "published": n in PUBLISHED, **OF_EACH} for n, told in FACTS.items()}
    )
    answers: list[dict[str, Any]] = field(default_factory=list)
    _secrets: set[str] = field(default_factory=set)

    def judge(self, fact: str, true: Truth, seen: str = "") -> None:
        """Settle a fact, or keep it open. What contradicts it once is not outweighed by what confirms it."""
        known = self.facts[fact]["verdict"]
        if known != VERDICTS[False] and (true is not None or known == VERDICTS[None]):
            self.facts[fact] |= {"verdict": VERDICTS[true], "seen": seen}

    def verdict(self, fact: str) -> Any:
        """How a fact stands."""
        return self.facts[fact]["verdict"]

    def hide(self, *secrets: str | None) -> None:
        """Never show these, no matter who repeats them."""
        self._secrets.update(secret for secret in secrets if secret and len(secret) >= SHORTEST_SECRET)

    def hide_urls(self, content: dict[str, Any]) -> dict[str, Any]:
        """Never show the queries of an object's URL and key, whole and in parts; returns the object."""
        for value in (content.get("url"), content.get("key")):
            if isinstance(value, str):
                query = urlsplit(value).query if "://" in value else value
                parts = [part.partition("=") for part in query.split("&")]
                self.hide(query, *(part for name, _, part in parts if name not in {"versionId", "Expires"}))
        return content

    def heard(self, answer: Answer, code: str | None) -> None:
        """Note an answer: status, code, names of headers and times."""
        of = {"step": self.step, "request": f"{answer.method} {answer.path}", "status": answer.status, "code": code}
        self.answers.append(
            {**of, "headers": sorted(answer.headers), "first_byte_seconds": round(answer.first_byte, 3)}
        )

    def content(self) -> dict[str, Any]:
        """The report as JSON has it, without anything that is secret."""
        shown = {name: value for name, value in vars(self).items() if name not in {"file", "_secrets"}}
        text = json.dumps({"version": VERSION, **shown})
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(json.dumps(secret)[1:-1], "[removed]")
        content: dict[str, Any] = json.loads(text)
        return content

    def write(self) -> None:
        """Write the file; raises `ReportUnwritable`."""
        try:
            with written_whole(self.file) as file:
                file.write(f"{json.dumps(self.content(), indent=2)}\n".encode())
        except OSError as error:
            why = f"the report cannot be written to {self.file}: {error.strerror or error}"
            raise ReportUnwritable(why, "Nothing more was sent.") from error

    def end(self, why: str) -> None:
        """Write the end of the run, early if there is a reason, and why facts are open."""
        self.state, self.why = "stopped" if why else "done", why
        for name, fact in self.facts.items():
            if fact["verdict"] == VERDICTS[None] and not fact["seen"]:
                fact["seen"] = NEVER.get(name, "not reached" if why else "this run did not settle it")

    def rows(self) -> Iterable[tuple[str, str, str, str]]:
        """Verdict, name, sentence and what was seen of each fact; the published ones first, the contradicted before others."""
        order, facts = ("contradicted", "confirmed", "open"), self.content()["facts"].items()
        for name, one in sorted(facts, key=lambda it: (not it[1]["published"], order.index(it[1]["verdict"]))):
            yield one["verdict"], name, one["fact"] + ("" if one["published"] else " (not published)"), one["seen"]
