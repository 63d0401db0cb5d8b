"""A service for the keys of stacks' secrets, in the test's own process, with Vault's API.

By default a stack's key is derived from a passphrase, slowly on purpose: each command would spend a quarter of a second on
that. The engine asks such a service for it instead, as it does for teams. This one keeps nothing secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.unreliable import Forwarder, served

PROVIDER = "--secrets-provider=hashivault://tests"
"""The option of `stack init`."""
SEALED = "vault:v1:"


class _Vault(Forwarder):
    def handle_any(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/transit/encrypt/tests":
            found = {"ciphertext": SEALED + asked["plaintext"]}
        else:
            found = {"plaintext": asked["ciphertext"].removeprefix(SEALED)}
        self.answer(200, {"Content-Type": "application/json"}, json.dumps({"data": found}).encode())


@contextmanager
def secret_keys() -> Iterator[dict[str, str]]:
    """Serve until the end; what leads an engine there."""
    with served(_Vault) as address:
        yield {"VAULT_SERVER_URL": address}
