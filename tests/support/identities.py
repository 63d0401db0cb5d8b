"""Where programs get the keys of a role, a login or an identity, and a store that notes with which it was asked: one server.

It plays, as their makers document them, the instance metadata of AWS, Google and Azure, AWS's container endpoint, its STS and
its SSO portal, and the token endpoints of Azure and of Google's federation. Every other path is a store, which refuses.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.unreliable import Forwarder, served

LATER = "2036-01-01T00:00:00Z"
TEMPORARY = {
    "AccessKeyId": "TEMPORARY",
    "SecretAccessKey": "neverShown",
    "Token": "SESSION",
    "Expiration": LATER,
}
STS = """<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>
<Credentials><AccessKeyId>TEMPORARY</AccessKeyId><SecretAccessKey>neverShown</SecretAccessKey>
<SessionToken>SESSION</SessionToken><Expiration>{later}</Expiration></Credentials>
<AssumedRoleUser><AssumedRoleId>id</AssumedRoleId><Arn>arn</Arn></AssumedRoleUser>
</{action}Result></{action}Response>"""
TOKEN = {
    "access_token": "TOKEN",
    "token_type": "Bearer",
    "expires_in": 3600,
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


@dataclass(frozen=True)
class Asked:
    """One request: its path without the query, the query and a form's fields, its headers in lower case."""

    method: str
    path: str
    given: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass
class Identities:
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    at_store: list[Asked] = field(default_factory=list)


class _Handler(Forwarder):
    known: Identities

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode(
            errors="replace"
        )
        parts = urlsplit(self.path)
        fields = {
            name: values[0]
            for name, values in parse_qs(
                f"{parts.query}&{body}", keep_blank_values=True
            ).items()
        }
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, parts.path, fields, headers)
        answer = self._identity(asked)
        if answer is None:
            self.known.at_store.append(asked)
            self.answer(
                403,
                {},
                b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
            )
            return
        self.known.asked.append(asked)
        kind = "application/json" if isinstance(answer, dict) else "text/plain"
        content = json.dumps(answer) if isinstance(answer, dict) else answer
        self.answer(
            200, {"Content-Type": kind, "Metadata-Flavor": "Google"}, content.encode()
        )

    def _identity(self, asked: Asked) -> dict[str, Any] | str | None:
        if action := asked.given.get("Action"):
            return STS.format(action=action, later=LATER)
        if asked.path.endswith("/token") and asked.method == "POST":
            return TOKEN
        answers: dict[str, dict[str, Any] | str] = {
            "/latest/api/token": "METADATA",
            "/latest/meta-data/iam/security-credentials/": "a-role",
            "/latest/meta-data/iam/security-credentials/a-role": {
                "Code": "Success",
                **TEMPORARY,
            },
            "/container": TEMPORARY,
            "/federation/credentials": {
                "roleCredentials": {
                    "accessKeyId": "TEMPORARY",
                    "secretAccessKey": "neverShown",
                    "sessionToken": "SESSION",
                    "expiration": 2082758400000,
                }
            },
            "/computeMetadata/v1/": "instance/\n",
            "/computeMetadata/v1/instance/service-accounts/default/token": TOKEN,
            "/computeMetadata/v1/instance/service-accounts/default/email": "me@example",
            "/msi": {
                **TOKEN,
                "expires_on": "2082758400",
                "expires_in": "3600",
                "resource": "x",
                "not_before": "0",
            },
        }
        return answers.get(asked.path)


@contextmanager
def identities() -> Iterator[Identities]:
    one = Identities()
    with served(_Handler, known=one, host="") as one.url:
        yield one
