"""The facts that a run settles, and its report.

The report has the verdict on each fact, each answer without secrets, and what the run has left at
the service.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.service.client import Answer
from pulumi_snapshots.state_directory import written_whole

PUBLISHED_FACTS = {
    "envelope": 'A success is `{"status": "success", "response": …}`.',
    "refusal": 'A refusal is `{"status": "error", "code": …}`, also if it comes with a 202.',
    "no-retry-after": "No answer has a `Retry-After` header.",
    "json": "All answers of the API are JSON, none is a proxy's page.",
    "account": "`/users/me` has the user, the plan with its memory, and the databases.",
    "plan-name": (
        "Plans are called `free`, or `hobby`, `standard`, `pro` or `enterprise` with a number."
    ),
    "database-id": "Database ids have 32 hex digits.",
    "database": "A database has id, name, owner, cluster, ram, type, port and created_at.",
    "status": "A database's status has `running` as true or false.",
    "uptime": "A database's `uptime` is the Unix milliseconds of its last start.",
    "create-answer": "A create is answered with `url` and `key` once the snapshot is done.",
    "unpinned": "The URL of that answer names no version.",
    "url-days": "That URL expires after 30 days.",
    "cooldown-lasts": "A create 170 s after the first is refused with `KEEP_CALM`.",
    "cooldown-ends": "A create 186 s after the last accepted one is accepted.",
    "listed": "A finished snapshot is listed at once if the listing was not requested before.",
    "entry": "Entries have name, size, modified, key, version_id, url, runtime and origin.",
    "newest-first": "Listings have the newest snapshot first.",
    "name": "The name of an entry is the database's id, alone or with `_type` or `_type_origin`.",
    "origin": "A snapshot that was requested has the origin `manual`.",
    "version-id": "Version ids have 24 to 96 characters of the restore route's pattern.",
    "pinned": "The URL and the key of an entry name its version.",
    "account-entry": "An entry of the account's listing has its database in the URL's path.",
    "range": "The snapshot host serves a range of a GET with 206.",
    "head": "The snapshot host refuses a HEAD of a URL that was signed for GET.",
    "newest": "A URL without a version serves the newest snapshot.",
    "cache-30-min": "A page that lacks a new snapshot is renewed within 30 minutes.",
    "create-202": (
        "A create that takes longer than about 90 s is answered with 202 `SNAPSHOT_PROCESSING`."
    ),
    "listed-late": "Such a snapshot is done within about 2 minutes after the 202.",
    "restore-answer": "A restore is answered with 200, or with 202 `SNAPSHOT_RESTORE_PROCESSING`.",
    "restore-status": "`GET …/snapshots/restore` shows how the last restore stands.",
    "restore-states": "Its states are none, queued, running, success and error.",
    "restore-times": "Its `started_at` and `finished_at` are Unix milliseconds.",
    "budget": "Too many requests in a minute block the account.",
    "wrong-key": "A wrong key is refused with 401 `ACCESS_DENIED`.",
    "quota": "The plan's quota of snapshots is (memory / 256 MB) x 2 in 24 hours.",
    "after-plan": (
        "Once the plan has ended, the newest snapshot of each database is kept for 30 days, all "
        "others for 14 at most, and after that nothing. An archive stays in your own storage."
    ),
}
UNKNOWN = {
    "plan-end": "`plan.duration` is the Unix milliseconds at which the plan ends.",
    "key-version": "The `key` of a create's answer names the version.",
    "modified-end": "`modified` is when the snapshot ended, not when it was requested.",
    "version-header": "The snapshot host sends `x-amz-version-id`.",
    "entity-tag": "The snapshot host sends a strong `ETag`.",
    "refusal-restarts": "A refused create starts the cooldown of 180 s again.",
    "own-cache-ends": "A new snapshot ends the caching of its database's listing.",
    "account-cache-ends": "A new snapshot ends the caching of the account's listing.",
    "restore-down": "A database is down while it is restored.",
    "restore-restarts": "A restore starts its database again, as `uptime` shows.",
    "restore-waits": "A restore is answered only when the data is there.",
}
"""Facts that no document states: either result is news."""
FACTS = PUBLISHED_FACTS | UNKNOWN
NEVER_TRIED = {
    "budget": "no run sends too many requests on purpose",
    "wrong-key": "no run sends a wrong key, since that may block the address",
    "quota": "no run uses up a quota on purpose",
    "after-plan": "no run waits for the end of a plan",
}
"""Facts that stay open in every run, and why."""
Truth = bool | None  # of a fact; None for open
OPEN = "open"
VERDICTS: dict[Truth, str] = {True: "confirmed", False: "contradicted", None: OPEN}
SHORTEST_SECRET = 12
"""Characters; what is shorter is no key, no signature and no query, and its removal would make the
report unreadable.
"""
REPORT_VERSION = 1  # of the form of the JSON


class ReportUnwritable(ProviderError):
    """The report cannot be written, so the run sends nothing more."""


def _open_facts() -> dict[str, dict[str, Any]]:
    """All facts by their names, none of them settled."""
    return {
        name: {
            "fact": sentence,
            "published": name in PUBLISHED_FACTS,
            "verdict": OPEN,
            "seen": "",
        }
        for name, sentence in FACTS.items()
    }


@dataclass
class Report:
    """The report, in the order of its JSON; times are the service's, in UTC.

    Attributes:
        file: Holds the report, written after each change, so that the file of a killed run says
            as much as was known.
        began: When the run began.
        state: `running`, `stopped` or `done`.
        step: The step that the run is in.
        why: Why the run ended early; empty if it did not.
        listing_cache: The value for the setting; empty if the run did not find it out.
        left: What is left at the service: sentences, by the names of the requests that left it.
        facts: The facts by their names.
        answers: The answers, without secrets.
    """

    file: Path
    began: str
    state: str = "running"
    step: str = ""
    why: str = ""
    listing_cache: str = ""
    left: dict[str, str] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=_open_facts)
    answers: list[dict[str, Any]] = field(default_factory=list)
    _secrets: set[str] = field(default_factory=set)

    def judge(
        self,
        fact: str,
        true: Truth,
        seen: str = "",
    ) -> None:
        """Settle a fact, or keep it open.

        A contradiction is final: later confirmations do not outweigh it.

        Args:
            fact: the fact's name.
            true: whether what was seen confirms it; None leaves it open.
            seen: what was seen, as a clause.
        """
        verdict = self.facts[fact]["verdict"]
        if verdict == VERDICTS[False]:
            return
        if true is not None or verdict == OPEN:
            self.facts[fact] |= {"verdict": VERDICTS[true], "seen": seen}

    def hide(self, secret: str) -> None:
        """Hide a secret in the whole report, no matter where it appears.

        Args:
            secret: the secret.
        """
        if len(secret) >= SHORTEST_SECRET:
            self._secrets.add(secret)

    def hide_urls(self, content: dict[str, Any]) -> dict[str, Any]:
        """Hide the queries of an object's URL and key, whole and in parts.

        Args:
            content: the object.

        Returns:
            The same object.
        """
        for value in (content.get("url"), content.get("key")):
            if isinstance(value, str):
                query = urlsplit(value).query if "://" in value else value
                self.hide(query)
                for parameter in query.split("&"):
                    name, _, secret = parameter.partition("=")
                    if name not in {"versionId", "Expires"}:
                        self.hide(secret)
        return content

    def heard(self, answer: Answer, code: str | None) -> None:
        """Note an answer: status, code, names of headers and times.

        Args:
            answer: the answer.
            code: the service's code; None without one.
        """
        self.answers.append(
            {
                "step": self.step,
                "request": f"{answer.method} {answer.path}",
                "status": answer.status,
                "code": code,
                "headers": sorted(answer.headers),
                "first_byte_seconds": round(answer.first_byte, 3),
            }
        )

    def content(self) -> dict[str, Any]:
        """Return the report as JSON has it, without anything that is secret."""
        shown = {
            name: value
            for name, value in vars(self).items()
            if name not in {"file", "_secrets"}
        }
        text = json.dumps({"version": REPORT_VERSION, **shown})
        for secret in sorted(self._secrets, key=len, reverse=True):
            in_json = json.dumps(secret)[1:-1]
            text = text.replace(in_json, "[removed]")
        content: dict[str, Any] = json.loads(text)
        return content

    def write(self) -> None:
        """Write the report's file.

        Raises:
            ReportUnwritable: the file cannot be written.
        """
        try:
            with written_whole(self.file) as file:
                file.write(f"{json.dumps(self.content(), indent=2)}\n".encode())
        except OSError as error:
            why = f"the report cannot be written to {self.file}: {error.strerror or error}"
            raise ReportUnwritable(why, "Nothing more was sent.") from error

    def end(self, why: str) -> None:
        """Write the end of the run, and why facts are open.

        Args:
            why: why the run ended early; empty if it did not.
        """
        self.state = "stopped" if why else "done"
        self.why = why
        reason = "not reached" if why else "this run did not settle it"
        for name, fact in self.facts.items():
            if fact["verdict"] == OPEN and not fact["seen"]:
                fact["seen"] = NEVER_TRIED.get(name, reason)

    def rows(self) -> Iterable[tuple[str, str, str, str]]:
        """Return the verdict, name, sentence and evidence of each fact.

        Published facts come first, and contradicted facts before others.
        """
        order = (VERDICTS[False], VERDICTS[True], OPEN)
        facts = self.content()["facts"]

        def rank(name: str) -> tuple[bool, int]:
            fact = facts[name]
            return not fact["published"], order.index(fact["verdict"])

        for name in sorted(facts, key=rank):
            fact = facts[name]
            sentence = fact["fact"]
            if not fact["published"]:
                sentence += " (not published)"
            yield fact["verdict"], name, sentence, fact["seen"]
