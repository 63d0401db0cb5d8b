"""A service for the keys of stacks' secrets, in the test's own process, with Vault's API.

By default a stack's key is derived from a passphrase, slowly on purpose: each command would spend a quarter of a second on
that. The engine asks such a service for it instead, as it does for teams. This one keeps nothing secret.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVIDER = "--secrets-provider=hashivault://tests"
"""The option of `stack init`."""
SEALED = "vault:v1:"


@contextmanager
def secret_keys() -> Iterator[dict[str, str]]:
    """Serve until the end; what leads an engine there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield {"VAULT_SERVER_URL": f"http://127.0.0.1:{server.server_port}"}
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


class _Answer(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/transit/encrypt/tests":
            found = {"ciphertext": SEALED + asked["plaintext"]}
        else:
            found = {"plaintext": asked["ciphertext"].removeprefix(SEALED)}
        answer = json.dumps({"data": found}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
