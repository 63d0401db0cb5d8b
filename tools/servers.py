"""MariaDB, Redis and FerretDB for tests, in the user's cache: `python -m tools.servers` has them at hand.

MariaDB and Redis are Debian's packages, unpacked: nothing is installed, and it takes no root. If the machine has their
programs, those are used. MongoDB's own server is in no package registry; FerretDB, which speaks its protocol and keeps
documents in SQLite, is built from its Go module.

`python -m tools.servers mariadb` (or `redis`, `ferretdb`) starts one, prints a line of JSON that says where, and stops it
at the end of its input. Each listens on a free port of the loopback interface and leaves nothing behind.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tools import engine, keeping
from tools.engine import Closed, Environment

PACKAGES = ("mariadb-server-core", "mariadb-client-core", "redis-server")
FOLDERS = ("usr/sbin", "usr/bin")
NEEDED = ("mariadbd", "mariadb-install-db", "redis-server")
EMPTY = "empty-mariadb"
"""The folder of a new MariaDB's data, which takes seconds to make."""
FERRETDB = "1.24.2"
"""The last release that keeps its data in SQLite; later ones need a PostgreSQL with their own extension."""
MODULE = "github.com/FerretDB/FerretDB"
SOURCE = Path(__file__).with_name("ferretdb.go")
SECONDS = 60.0
"""How long a server may take to start: less than a second, on a machine that is not busy."""
TRIES = 3
"""Ports that are tried: another program may take one between its choice and the server's start."""
# Nothing of it outlives the server, so nothing has to reach the disk.
MARIADB_OPTIONS = (
    *("--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin", "--performance-schema=OFF"),
    *("--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0"),
    *("--innodb-doublewrite=OFF", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M"),
)
REDIS_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {place}
save ""
appendonly no
databases 64
"""


class Missing(Closed):
    """A tool is not on this machine."""


@dataclass(frozen=True)
class Server:
    """A server on this machine.

    Attributes:
        scheme: of its connection strings.
        port: on the loopback interface.
        user: its administrator's name; empty if it has none.
        password: empty if it asks for none.
    """

    scheme: str
    port: int
    user: str = ""
    password: str = ""

    def url(self, database: str = "") -> str:
        """The connection string of a database."""
        login = f"{self.user}:{self.password}@" if self.password else ""
        return f"{self.scheme}://{login}127.0.0.1:{self.port}/{database}"


@contextlib.contextmanager
def served(name: str, *arguments: str) -> Iterator[Server]:
    """A server that stops with this block, and with this process, however that ends.

    Args:
        name: mariadb, redis or ferretdb.
        arguments: for MariaDB, a PEM file with a key and a certificate for TLS, and one with the authority of clients.

    Raises:
        Missing: It is not on this machine and cannot be.
        Closed: It did not start.
    """
    MAKERS[name](os.environ)
    with keeping.kept("tools.servers", name, *arguments) as server:
        yield Server(**server)


# Debian's packages


@dataclass(frozen=True)
class Programs:
    """Where programs are.

    Attributes:
        paths: by name.
        root: the folder that they were unpacked to; None if they are the system's.
    """

    paths: Mapping[str, Path]
    root: Path | None

    @property
    def environment(self) -> dict[str, str]:
        """With which they run, and find their libraries."""
        return {
            "PATH": os.defpath,
            "LC_ALL": "C",
            "TZ": "UTC",
            **({} if self.root is None else libraries_in(self.root)),
        }


def libraries_in(root: Path) -> dict[str, str]:
    """The environment in which unpacked programs find their libraries."""
    folders = [str(path) for top in ("usr/lib", "lib") for path in sorted(root.glob(f"{top}/*-linux-gnu*"))]
    return {"LD_LIBRARY_PATH": os.pathsep.join(folders)}


def debian(environment: Environment) -> Programs:
    """MariaDB's and Redis' programs: the system's, or else unpacked from Debian's packages.

    Raises:
        Missing: There is no apt-get to get them with.
        Closed: They cannot be unpacked.
    """
    path = os.pathsep.join([environment.get("PATH", os.defpath), "/usr/sbin"])
    installed = {name: shutil.which(name, path=path) for name in NEEDED}
    if all(installed.values()):
        return Programs({name: Path(found).resolve() for name, found in installed.items() if found}, None)
    if shutil.which("apt-get", path=path) is None or shutil.which("dpkg-deb", path=path) is None:
        raise Missing(f"no {' and '.join(name for name, found in installed.items() if not found)}, and no apt-get")
    release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    made_from = hashlib.sha256(repr((release, PACKAGES, NEEDED, MARIADB_OPTIONS)).encode()).hexdigest()[:12]

    def works(root: Path) -> bool:
        return all(runs(root, name) for name in ("mariadbd", "redis-server"))

    files = ("usr/sbin/mariadbd", "usr/bin/redis-server")
    root = engine.kept(environment, f"debian-servers-{made_from}", files, unpack, works)
    return Programs(unpacked(root), root)


def unpacked(root: Path) -> dict[str, Path]:
    """The programs among unpacked files."""
    found = {name: root / folder / name for name in NEEDED for folder in FOLDERS if (root / folder / name).exists()}
    if missing := [name for name in NEEDED if name not in found]:
        raise Closed(f"Debian's packages hold no {', '.join(missing)}")
    return found


def runs(root: Path, name: str) -> bool:
    """Whether an unpacked program starts."""
    program = next((root / folder / name for folder in FOLDERS if (root / folder / name).exists()), None)
    return (
        program is not None
        and not subprocess.run(  # noqa: S603 - a fixed command, no shell
            [program, "--version"], env=libraries_in(root), capture_output=True, check=False
        ).returncode
    )


def unpack(into: Path, environment: Environment) -> None:
    """Unpack the packages, and those that they need and the system lacks; make a new MariaDB's data."""
    say("unpacking MariaDB and Redis from Debian's packages: about 10 seconds, once")
    work = into / "work"
    lists = work / "lists" / "partial"
    lists.mkdir(parents=True)
    try:
        get(work, environment, ())
    except Closed:
        # The system's own lists are missing or old, and only root may renew them.
        own = ("-o", f"Dir::State::Lists={lists.parent}", "-o", "APT::Sandbox::User=")
        apt(work, environment, "update", "-q", *own)
        get(work, environment, own)
    for package in sorted(work.glob("*.deb")):
        engine.run(["dpkg-deb", "--extract", str(package), str(into)], work, environment)
    programs = unpacked(into)
    engine.remove(work)
    initialize(Programs(programs, into), into / EMPTY)


def get(work: Path, environment: Environment, options: Sequence[str]) -> None:
    """Download the packages into a folder."""
    said = apt(work, environment, "install", "--simulate", "--no-install-recommends", *options, *PACKAGES)
    wanted = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", said, re.MULTILINE)
    # If a part of them is installed already, it is unpacked all the same: they must fit together.
    names = [f"{name}={version}" for name, version in wanted]
    names += [name for name in PACKAGES if name not in dict(wanted)]
    apt(work, environment, "download", *options, *names)


def apt(work: Path, environment: Environment, *arguments: str) -> str:
    """What apt-get prints."""
    return engine.run(
        ["apt-get", *arguments], work, {**environment, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    )


# MariaDB


def initialize(programs: Programs, data: Path) -> None:
    """Make the data of a new MariaDB, whose only user is root@localhost without a password."""
    data.mkdir()
    base = programs.paths["mariadbd"].parents[1]
    engine.run(
        [
            *(
                "sh",
                str(programs.paths["mariadb-install-db"]),
                "--no-defaults",
                f"--basedir={base}",
                f"--datadir={data}",
            ),
            *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", *as_root()),
            "--innodb-log-file-size=4M",
        ],
        data,
        programs.environment,
    )


def as_root() -> tuple[str, ...]:
    """The option without which MariaDB does not run as root."""
    return ("--user=root",) if os.geteuid() == 0 else ()


@contextlib.contextmanager
def mariadb(*certificates: str) -> Iterator[Server]:
    """A new MariaDB, with TLS if there are certificates."""
    programs = debian(os.environ)
    with folder() as place:
        if programs.root is None:
            initialize(programs, place / "data")
        else:
            shutil.copytree(programs.root / EMPTY, place / "data")
        password = secrets.token_urlsafe(24)
        start = place / "start.sql"
        start.touch(mode=0o600)
        start.write_text(
            "DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';\nFLUSH PRIVILEGES;\n"  # noqa: S608 - our own
            f"CREATE USER root@'127.0.0.1' IDENTIFIED BY '{password}';\n"
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        tls = list[str]()
        if certificates:
            own, authority = certificates
            tls = [f"--ssl-cert={own}", f"--ssl-key={own}", f"--ssl-ca={authority}"]

        def command(port: int) -> list[str]:
            return [
                *(str(programs.paths["mariadbd"]), "--no-defaults", *as_root(), *MARIADB_OPTIONS, *tls),
                *(
                    f"--basedir={programs.paths['mariadbd'].parents[1]}",
                    f"--datadir={place / 'data'}",
                    f"--tmpdir={place}",  # in a shared one, a server that starts removes the tables of others
                    f"--port={port}",
                ),
                # Relative to its data, since the path of a socket may have 107 characters at most.
                *("--socket=socket", f"--pid-file={place / 'pid'}", f"--init-file={start}"),
            ]

        with started(command, place, programs.environment, lambda client: bool(client.recv(1))) as port:
            yield Server("mysql", port, "root", password)


# Redis


@contextlib.contextmanager
def redis() -> Iterator[Server]:
    """A new Redis."""
    programs = debian(os.environ)
    with folder() as place:
        password = secrets.token_urlsafe(24)
        configuration = place / "redis.conf"

        def command(port: int) -> list[str]:
            configuration.touch(mode=0o600)
            configuration.write_text(REDIS_CONFIGURATION.format(port=port, password=password, place=place))
            return [str(programs.paths["redis-server"]), str(configuration)]

        def answers(client: socket.socket) -> bool:
            client.sendall(b"PING\r\n")
            return bool(client.recv(1))

        with started(command, place, programs.environment, answers) as port:
            yield Server("redis", port, "default", password)


# FerretDB


def ferretdb_program(environment: Environment) -> Path:
    """FerretDB, built from its Go module; Missing if there is no Go, or an old one, Closed if it cannot be built."""
    source = SOURCE.read_text()
    made_from = hashlib.sha256(f"{FERRETDB}\0{source}".encode()).hexdigest()[:12]

    def build(into: Path, environment: Environment) -> None:
        work = engine.module(into / "ferret", f"require {MODULE} v{FERRETDB}\n{engine.MODULES}", source)
        try:
            go = engine.new_enough(work, environment)
        except Closed as reason:
            raise Missing(str(reason).partition(": ")[0]) from None
        say("building FerretDB: about 1 minute on two cores, once")
        engine.build(go, work, ".", into / "ferretdb", FERRETDB, environment)
        engine.remove(work)

    return engine.kept(environment, f"ferretdb-{made_from}", ("ferretdb",), build) / "ferretdb"


@contextlib.contextmanager
def ferretdb() -> Iterator[Server]:
    """A new FerretDB, which asks for no password."""
    program = ferretdb_program(os.environ)
    with (
        folder() as place,
        subprocess.Popen(  # noqa: S603 - a fixed command, no shell
            [program, place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=place,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101 - as above
        try:
            port = urlsplit(process.stdout.readline().strip()).port
            if port is None:
                raise Closed("FerretDB did not start; the lines above say why")
            yield Server("mongodb", port)
        finally:
            process.stdin.close()
            process.wait(SECONDS)


# What they share


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone at the end."""
    place = Path(tempfile.mkdtemp(prefix="pulumi-snapshots-db-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def started(
    command: Callable[[int], list[str]],
    place: Path,
    environment: Mapping[str, str],
    answers: Callable[[socket.socket], bool] = lambda _: True,
) -> Iterator[int]:
    """A server's process on a free port, from when it answers to the end of the block."""
    log = place / "log"
    for remaining in reversed(range(TRIES)):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        with (
            log.open("w") as output,
            subprocess.Popen(  # noqa: S603 - a fixed command, no shell
                command(port),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=place,
                env=environment,
                start_new_session=True,  # a ^C is its starter's to handle
            ) as process,
        ):
            try:
                if is_up(process, port, answers):
                    yield port
                    return
            finally:
                process.kill()  # nothing of it is kept
        if not remaining:
            raise Closed("\n  ".join(["the server did not start:", *log.read_text().splitlines()[-10:]]))


def is_up(process: subprocess.Popen[bytes], port: int, answers: Callable[[socket.socket], bool]) -> bool:
    """Wait until a server answers; False if it ends instead, or takes too long."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
                if answers(client):
                    return process.poll() is None
        except OSError:
            pass
        time.sleep(0.02)
    return False


SERVERS: dict[str, Callable[..., AbstractContextManager[Server]]] = {
    "mariadb": mariadb,
    "redis": redis,
    "ferretdb": ferretdb,
}
MAKERS: dict[str, Callable[[Environment], object]] = {"mariadb": debian, "redis": debian, "ferretdb": ferretdb_program}


def say(text: str) -> None:
    """Tell the user on stderr."""
    print(f"servers: {text}", file=sys.stderr, flush=True)


def main(name: str = "", *arguments: str) -> int:
    """Start a server, or have all at hand and say what is missing."""
    if name:

        @contextlib.contextmanager
        def told() -> Iterator[dict[str, Any]]:
            with SERVERS[name](*arguments) as server:
                yield asdict(server)

        return keeping.keep(name, told)
    for each, make in (("mariadb and redis", debian), ("ferretdb", ferretdb_program)):
        try:
            make(os.environ)
        except Missing as reason:
            say(f"tests with {each} will be skipped: {reason}")
        except Closed as reason:
            say(str(reason))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
