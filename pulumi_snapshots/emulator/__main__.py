"""The console script `squarecloud-emulator`: options, one line that says where it listens, and a graceful end."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pulumi_snapshots.emulator.control.local_only import is_loopback
from pulumi_snapshots.emulator.data.store import StoreError
from pulumi_snapshots.emulator.emulator import Emulator
from pulumi_snapshots.emulator.service.settings import (
    TEST_API_KEY,
    CacheWorld,
    EmulatorSettings,
    ModifiedIs,
    NameStyle,
    Plan,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_snapshots.emulator.data.store import Store

__all__ = ["main"]

_KEY_VARIABLE = "SQUARECLOUD_EMULATOR_API_KEY"
_DSN_VARIABLE = "SQUARECLOUD_EMULATOR_POSTGRES_DSN"
_FAILED = 1
_WRONG_USE = 2  # as argparse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGINT or SIGTERM.

    Returns:
        The exit code: 0 after a signal, 1 if it could not start, 2 for wrong options.
    """
    options = _parser().parse_args(arguments)
    _warn_as_ourselves()
    try:
        from pulumi_snapshots.emulator import app, serving  # noqa: F401, PLC0415 - they need the extra
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        return _fail(f"{missing} is missing; install it with: pip install 'pulumi-snapshots[emulator]'")
    if not (is_loopback(options.host) or options.allow_remote):
        return _fail(f"{options.host} can be reached from other machines; --allow-remote if that is wanted", _WRONG_USE)
    store: Store | None = None
    try:
        if options.data_folder is not None:
            _claim(options.data_folder)
        store = _store(options)
        emulator = Emulator(_settings(options), data_folder=options.data_folder, store=store)
        for described in options.database:
            database_id, _, kind = described.partition(":")
            if database_id not in emulator.databases:
                emulator.add_database(database_id, type=kind or "postgres")
        listening = _listen(options.host, options.port)
    except (OSError, ValueError, StoreError) as error:
        if store is not None:
            store.close()
        return _fail(" ".join(str(error).split()))
    host, port = listening.getsockname()[:2]
    emulator.base_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def ready() -> None:
        # The one line on stdout: scripts read the port from it.
        line = (
            f"squarecloud-emulator listening on {emulator.base_url} "
            f"(API {emulator.api_url}, snapshots {emulator.snapshots_url})\n"
        )
        sys.stdout.write(line)
        sys.stdout.flush()

    serving.serve(emulator, listening, ready)
    return 0


def _parser() -> argparse.ArgumentParser:
    usual = EmulatorSettings()
    parser = argparse.ArgumentParser(
        prog="squarecloud-emulator",
        description=(
            "Square Cloud's database snapshots on this machine. "
            f"The API key that it accepts comes from {_KEY_VARIABLE}; unless set it is {TEST_API_KEY}"
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    add("--allow-remote", action="store_true", help="allow a --host that other machines can reach")
    add("--data-folder", type=Path, help="keep databases and snapshots here; without it all is gone at the end")
    add("--database", action="append", default=[], metavar="ID[:TYPE]", help="add a database; may be repeated")
    add(
        "--postgres-dsn",
        metavar="DSN",
        help="a PostgreSQL server that has the databases of type postgres, instead of SQLite; without the password, "
        f"which comes from PGPASSWORD or a password file. {_DSN_VARIABLE} may hold it all",
    )
    add("--speed", type=float, default=usual.speed, help="seconds of the service in one real second")
    add("--clock-offset", type=float, default=usual.clock_offset_seconds, help="seconds the service's clock is ahead")
    add("--snapshot-seconds", type=float, default=usual.snapshot_seconds, help="how long a snapshot takes")
    add("--soft-deadline", type=float, default=usual.soft_deadline_seconds, help="seconds until a 202 is answered")
    add("--restore-seconds", type=float, default=usual.restore_seconds, help="how long a restore takes")
    add("--memory", type=int, default=usual.plan_memory_mb, help="the plan's MB; a day has (MB / 256) * 2 snapshots")
    add("--plan", choices=get_args(Plan), default=usual.plan, help="a free plan has no account listing")
    add("--requests-per-minute", type=int, default=usual.requests_per_minute, help="request budget before a block")
    add("--block-seconds", type=float, default=usual.block_seconds, help="how long a block lasts")
    add("--cache-seconds", type=float, default=usual.cache_seconds, help="how long listings are cached")
    add(
        "--cache-world",
        choices=get_args(CacheWorld),
        default=usual.cache_world,
        help="whether a finished snapshot invalidates cached listings, or they are kept to their end",
    )
    add("--modified-is", choices=get_args(ModifiedIs), default=usual.modified_is, help="what a snapshot's time means")
    add("--name-style", choices=get_args(NameStyle), default=usual.name_style, help="what objects are called")
    add("--old-style-entries", action="store_true", help="listings without version_id, url, runtime and origin")
    add("--automatic", action=argparse.BooleanOptionalAction, default=True, help="daily automatic snapshots")
    return parser


def _settings(options: argparse.Namespace) -> EmulatorSettings:
    return EmulatorSettings(
        api_key=os.environ.get(_KEY_VARIABLE) or TEST_API_KEY,
        speed=options.speed,
        clock_offset_seconds=options.clock_offset,
        snapshot_seconds=options.snapshot_seconds,
        soft_deadline_seconds=options.soft_deadline,
        restore_seconds=options.restore_seconds,
        plan_memory_mb=options.memory,
        plan=options.plan,
        requests_per_minute=options.requests_per_minute,
        block_seconds=options.block_seconds,
        cache_seconds=options.cache_seconds,
        cache_world=options.cache_world,
        modified_is=options.modified_is,
        name_style=options.name_style,
        old_style_entries=options.old_style_entries,
        automatic_snapshots=options.automatic,
    )


def _store(options: argparse.Namespace) -> Store | None:
    """Where the data is kept, if the emulator is not to decide it.

    Raises:
        ValueError: The server cannot be used, or the password stands among the arguments.
    """
    dsn = options.postgres_dsn or os.environ.get(_DSN_VARIABLE)
    if not dsn:
        return None
    try:
        from pulumi_snapshots.emulator.data.postgres_store import PostgresStore, holds_password  # noqa: PLC0415 - it needs the extra
    except ImportError as error:
        missing = "psycopg is missing" if isinstance(error, ModuleNotFoundError) else f"psycopg does not load ({error})"
        raise ValueError(f"{missing}; install it with: pip install 'pulumi-snapshots[emulator-postgres]'") from None
    if options.postgres_dsn and holds_password(options.postgres_dsn):
        raise ValueError(
            "--postgres-dsn holds a password, which every user of this machine can read: give it in PGPASSWORD or a"
            f" password file, or the whole DSN in {_DSN_VARIABLE}"
        )
    return PostgresStore(dsn, options.data_folder)


def _claim(folder: Path) -> None:
    """Keep other emulators off this folder while the process lives.

    Raises:
        ValueError: One uses it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)  # never closed: the process's end unlocks it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"another emulator uses {folder}") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ValueError(f"cannot listen on {host} port {port}: {error}") from error
    return listening


def _warn_as_ourselves() -> None:
    """Show why a snapshot or a restore failed, which clients are not told."""
    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("squarecloud-emulator: %(message)s"))
    logger = logging.getLogger("pulumi_snapshots.emulator")
    logger.addHandler(shown)
    logger.propagate = False


def _fail(message: str, code: int = _FAILED) -> int:
    sys.stderr.write(f"squarecloud-emulator: {message}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
