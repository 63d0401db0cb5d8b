"""TLS in front of a server that has none, with certificates made on the fly."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POSTGRES_ASKS = bytes.fromhex("0000000804d2162f")
"""How a client of PostgreSQL asks for TLS; others begin with it."""
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, a server's certificate for `localhost` only, a client's, and an authority of others."""

    authority: str
    server: str
    client: str
    other_authority: str


def certificates(folder: Path) -> Certificates:
    """Make them; each file but the authorities' holds its key too."""
    authority, other = _authority("the tests' own"), _authority("another one")
    made = {
        "authority": _pem(authority[0]),
        "other_authority": _pem(other[0]),
        "server": _issued(authority, "localhost"),
        "client": _issued(authority, "client"),
    }
    for name, pem in made.items():
        (folder / f"{name}.pem").write_bytes(pem)
        (folder / f"{name}.pem").chmod(0o600)
    return Certificates(**{name: str(folder / f"{name}.pem") for name in made})


@contextlib.contextmanager
def tls_front(made: Certificates, port: int, *, client: bool = False) -> Iterator[int]:
    """A port that speaks TLS, for a server's port that does not.

    Args:
        made: the certificates.
        port: the server's.
        client: whether clients need a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server)
    if client:
        context.load_verify_locations(made.authority)
        context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, context, port), daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=_serve, args=(listening.accept()[0], context, port), daemon=True).start()


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


def _authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = _builder(names, names, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key


def _issued(authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], name: str) -> bytes:
    issuer, issuing_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(names, issuer.subject, key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing_key.public_key()), critical=False)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + _pem(builder.sign(issuing_key, hashes.SHA256()))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
