"""The report of a run: what each fact turned out to be, each answer without what is secret, and what is left at the service.

It is written to its file after each change, so that the file of a killed run says as much as was known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.probe.facts import FACTS, NEVER
from pulumi_snapshots.service.transport import Heard
from pulumi_snapshots.whole_file import written_whole

Verdict = Literal["confirmed", "contradicted", "open"]
REMOVED = "[removed]"
SHORTEST_SECRET = 12
"""Characters; what is shorter is no key, no signature and no query, and its removal would make the report unreadable."""
VERSION = 1
"""Of the form of the JSON."""


class ReportUnwritable(Explained):
    """The report cannot be written, so the run sends nothing more."""


@dataclass
class Judged:
    """What became of a fact: the verdict, and what was seen of it."""

    verdict: Verdict = "open"
    seen: str = ""


@dataclass
class Report:
    """The report; times are the service's, in UTC.

    Attributes:
        file: where it is written.
        state: `running` in the file of a killed run.
        step: the step that is under way, or was at the end.
        listing_cache: the value for the setting; empty if it was not found out.
        left: what is left at the service; sentences by what they are of.
        facts: by their names.
        answers: each answer, without what is secret.
    """

    file: Path
    began: str
    state: str = "running"
    step: str = ""
    why: str = ""
    listing_cache: str = ""
    left: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Judged] = field(default_factory=lambda: {name: Judged() for name in FACTS})
    answers: list[dict[str, Any]] = field(default_factory=list)
    _secrets: set[str] = field(default_factory=set)
    _names: dict[str, str] = field(default_factory=dict)

    # What it learns --------------------------------------------------------------------------------------------------

    def judge(self, fact: str, *, true: bool | None, seen: str) -> None:
        """Settle a fact; None if it stays open. What contradicts it once is not outweighed by what confirms it."""
        known = self.facts[fact]
        if known.verdict != "contradicted":
            verdict: Verdict = "open" if true is None else "confirmed" if true else "contradicted"
            if verdict != "open" or known.verdict == "open":
                self.facts[fact] = Judged(verdict, seen)

    def reopen(self, fact: str, seen: str) -> None:
        """Open a fact again that something else may have caused."""
        if self.facts[fact].verdict != "open":
            self.facts[fact] = Judged("open", seen)

    def hide(self, *secrets: str | None) -> None:
        """Never show these, no matter who repeats them."""
        self._secrets.update(secret for secret in secrets if secret and len(secret) >= SHORTEST_SECRET)

    def hide_urls(self, content: Any) -> None:
        """Never show what is secret in an answer's content: the queries of its URLs, and its keys, whole and in parts."""
        if isinstance(content, dict):
            for name, value in content.items():
                if isinstance(value, str) and name in {"url", "key"}:
                    query = urlsplit(value).query if "://" in value else value
                    parts = [part.partition("=") for part in query.split("&")]
                    self.hide(query, *(value for name, _, value in parts if name not in {"versionId", "Expires"}))
                else:
                    self.hide_urls(value)
        elif isinstance(content, list):
            for each in content:
                self.hide_urls(each)

    def name(self, database_id: str, name: str) -> None:
        """Show a database in the paths of answers by what it is for."""
        self._names[database_id] = name

    def heard(self, answer: Heard, code: str | None) -> None:
        """Note an answer: status, code, names of headers and times."""
        path = answer.path
        for database_id, name in self._names.items():
            path = path.replace(database_id, name)
        self.answers.append(
            {
                "step": self.step,
                "request": f"{answer.method} {path}",
                "status": answer.status,
                "code": code,
                "headers": sorted(answer.headers),
                "first_byte_seconds": round(answer.first_byte, 3),
            }
        )

    # What it says ----------------------------------------------------------------------------------------------------

    def content(self) -> dict[str, Any]:
        """The report as JSON has it, without anything that is secret."""
        facts = {
            name: {"fact": FACTS[name].sentence, "published": FACTS[name].published, **vars(judged)}
            for name, judged in self.facts.items()
        }
        shown = ("began", "state", "step", "why", "listing_cache", "left")
        content = {"version": VERSION, **{name: getattr(self, name) for name in shown}}
        secrets = sorted(self._secrets, key=len, reverse=True)
        shown_only: dict[str, Any] = _without(secrets, {**content, "facts": facts, "answers": self.answers})
        return shown_only

    def write(self) -> None:
        """Write the file.

        Raises:
            ReportUnwritable: it cannot be written.
        """
        try:
            with written_whole(self.file) as file:
                file.write(f"{json.dumps(self.content(), indent=2)}\n".encode())
        except OSError as error:
            why = f"the report cannot be written to {self.file}: {error.strerror or error}"
            raise ReportUnwritable(why, "Nothing more was sent.") from error

    def end(self, state: str, why: str = "") -> None:
        """Note the end of the run, and why facts are open."""
        self.state, self.why = state, why
        for name, judged in self.facts.items():
            if judged.verdict == "open" and not judged.seen:
                judged.seen = NEVER.get(name, "not reached" if why else "no step of this run settles it")

    def rows(self) -> Iterable[tuple[str, str, str, str]]:
        """Verdict, name, sentence and what was seen of each fact; the contradicted ones first."""
        content = self.content()["facts"]
        order = ("contradicted", "confirmed", "open")
        for name in sorted(
            content, key=lambda name: (not content[name]["published"], order.index(content[name]["verdict"]))
        ):
            one = content[name]
            sentence = one["fact"] if one["published"] else f"{one['fact']} (not published)"
            yield one["verdict"], name, sentence, one["seen"]


def _without(secrets: list[str], value: Any) -> Any:
    if isinstance(value, str):
        for secret in secrets if len(value) >= SHORTEST_SECRET else ():
            value = value.replace(secret, REMOVED)
        return value
    if isinstance(value, dict):
        return {_without(secrets, name): _without(secrets, each) for name, each in value.items()}
    return [_without(secrets, each) for each in value] if isinstance(value, list) else value
