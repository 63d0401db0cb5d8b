"""TLS in front of a server that has none, with certificates made on the fly."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

POSTGRES_ASKS = bytes.fromhex("0000000804d2162f")
"""How a client of PostgreSQL asks for TLS; others begin with it."""


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, a server's certificate for `localhost` only, a client's, and an authority of others."""

    authority: str
    server: str
    client: str
    other_authority: str


def certificates(folder: Path) -> Certificates:
    """Make them; each file but the authorities' holds its key too."""
    authority = trustme.CA(organization_name="the tests' own")
    other = trustme.CA(organization_name="another one")
    made = {
        "authority": authority.cert_pem,
        "other_authority": other.cert_pem,
        "server": authority.issue_cert("localhost").private_key_and_cert_chain_pem,
        "client": authority.issue_cert("client").private_key_and_cert_chain_pem,
    }
    for name, pem in made.items():
        (folder / f"{name}.pem").write_bytes(pem.bytes())
        (folder / f"{name}.pem").chmod(0o600)
    return Certificates(**{name: str(folder / f"{name}.pem") for name in made})


@contextlib.contextmanager
def tls_front(made: Certificates, port: int, *, client: bool = False) -> Iterator[int]:
    """A port that speaks TLS, for a server's port that does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server)
    if client:
        context.load_verify_locations(made.authority)
        context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(
            target=_accept, args=(listening, context, port), daemon=True
        ).start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(
                target=_serve, args=(listening.accept()[0], context, port), daemon=True
            ).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError), plain:
        if plain.recv(len(POSTGRES_ASKS), socket.MSG_PEEK) == POSTGRES_ASKS:
            plain.recv(len(POSTGRES_ASKS))
            plain.sendall(b"S")
        with (
            context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
