"""The report of a run: the verdict on each fact, each answer without what is secret, and what is left at the service."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pulumi_snapshots.errors import Explained
from pulumi_snapshots.probe.facts import FACTS, NEVER, PUBLISHED
from pulumi_snapshots.service.transport import Answer
from pulumi_snapshots.state_directory import written_whole

Verdict = Literal["confirmed", "contradicted", "open"]
Truth = bool | None
"""Of a fact; None for open."""
SHORTEST_SECRET = 12
"""Characters; what is shorter is no key, no signature and no query, and its removal would make the report unreadable."""
VERSION = 1
"""Of the form of the JSON."""


class ReportUnwritable(Explained):
    """The report cannot be written, so the run sends nothing more."""


@dataclass
class Report:
    """The report; times are the service's, in UTC.

    Attributes:
        file: where it is written, after each change, so that the file of a killed run says as much as was known.
        state: `running` in the file of a killed run.
        step: the step that is under way, or was at the end.
        why: why the run ended early.
        listing_cache: the value for the setting; empty if it was not found out.
        left: what is left at the service; sentences by what they are of.
        facts: the verdict on each, and what was seen of it.
        answers: each answer, without what is secret.
    """

    file: Path
    began: str
    state: str = "running"
    step: str = ""
    why: str = ""
    listing_cache: str = ""
    left: dict[str, str] = field(default_factory=dict)
    facts: dict[str, tuple[Verdict, str]] = field(default_factory=lambda: dict.fromkeys(FACTS, ("open", "")))
    answers: list[dict[str, Any]] = field(default_factory=list)
    _secrets: set[str] = field(default_factory=set)

    def judge(self, fact: str, true: Truth, seen: str = "") -> None:
        """Settle a fact, or keep it open. What contradicts it once is not outweighed by what confirms it."""
        known, _ = self.facts[fact]
        if known != "contradicted" and (true is not None or known == "open"):
            self.facts[fact] = ("open" if true is None else "confirmed" if true else "contradicted"), seen

    def hide(self, *secrets: str | None) -> None:
        """Never show these, no matter who repeats them."""
        self._secrets.update(secret for secret in secrets if secret and len(secret) >= SHORTEST_SECRET)

    def hide_urls(self, content: Any) -> None:
        """Never show what is secret in an answer's content: the queries of its URLs, and its keys, whole and in parts."""
        for name, value in content.items() if isinstance(content, dict) else ():
            if isinstance(value, str) and name in {"url", "key"}:
                query = urlsplit(value).query if "://" in value else value
                parts = [part.partition("=") for part in query.split("&")]
                self.hide(query, *(value for name, _, value in parts if name not in {"versionId", "Expires"}))
            else:
                self.hide_urls(value)
        for each in content if isinstance(content, list) else ():
            self.hide_urls(each)

    def heard(self, answer: Answer, code: str | None) -> None:
        """Note an answer: status, code, names of headers and times."""
        of = {"step": self.step, "request": f"{answer.method} {answer.path}", "status": answer.status, "code": code}
        at = {"headers": sorted(answer.headers), "first_byte_seconds": round(answer.first_byte, 3)}
        self.answers.append({**of, **at})

    def content(self) -> dict[str, Any]:
        """The report as JSON has it, without anything that is secret."""
        facts = {
            name: {"fact": FACTS[name], "published": name in PUBLISHED, "verdict": verdict, "seen": seen}
            for name, (verdict, seen) in self.facts.items()
        }
        shown = ("began", "state", "step", "why", "listing_cache", "left")
        values = {"version": VERSION, **{name: getattr(self, name) for name in shown}}
        text = json.dumps({**values, "facts": facts, "answers": self.answers})
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
        """Note the end of the run, early if there is a reason, and why facts are open."""
        self.state, self.why = "stopped" if why else "done", why
        for name, (verdict, seen) in self.facts.items():
            if verdict == "open" and not seen:
                self.judge(name, None, NEVER.get(name, "not reached" if why else "no step of this run settles it"))

    def rows(self) -> Iterable[tuple[str, str, str, str]]:
        """Verdict, name, sentence and what was seen of each fact; the published ones first, the contradicted before others."""
        order = ("contradicted", "confirmed", "open")
        facts = self.content()["facts"].items()
        for name, one in sorted(facts, key=lambda it: (not it[1]["published"], order.index(it[1]["verdict"]))):
            yield one["verdict"], name, one["fact"] + ("" if one["published"] else " (not published)"), one["seen"]
