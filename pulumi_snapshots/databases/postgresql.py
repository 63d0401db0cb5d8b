"""PostgreSQL, by psycopg."""

import math
from itertools import islice
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pulumi_snapshots.databases.dumps import Loading, NotLoaded
from pulumi_snapshots.databases.kinds import Refused, Scalar, Session, only_column
from pulumi_snapshots.errors import PACKAGE

# A server that vanishes is noticed within half a minute.
ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
# Without what belongs to an extension, which a new database may have too.
OBJECTS = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
    "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
)
AGE = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
EMPTY = """
DO $$ DECLARE each text; BEGIN
    FOR each IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', each);
    END LOOP;
    CREATE SCHEMA public;
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
END $$"""
PREPARE = "SELECT set_config('statement_timeout', %s, true), set_config('TimeZone', 'UTC', true)"


class Postgres(Session):
    """A connection on which every command is a single statement in a read-only transaction of its own."""

    counts = OBJECTS

    def __init__(self, dsn: str, seconds: float) -> None:
        self._milliseconds = str(math.ceil(seconds * 1000))
        usual = {
            "connect_timeout": math.ceil(seconds),
            "client_encoding": "UTF8",
            "application_name": PACKAGE,
            **ALIVE,
        }
        try:
            parameters: dict[str, Any] = {**usual, **conninfo_to_dict(dsn)}
        except psycopg.ProgrammingError:
            raise Refused(
                "the connection string has a parameter or a form that PostgreSQL does not know"
            ) from None
        # Without prepared statements it works through a connection pooler too.
        self._connection: psycopg.Connection[Any] = psycopg.connect(
            **parameters, prepare_threshold=None
        )
        self._connection.read_only, self.end = True, self._connection.close
        self.is_lost = lambda _: self._connection.broken

    def ask(self, command: str) -> Scalar:
        """The only column of the only row of one statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(PREPARE, (self._milliseconds,))
            # Streamed statements use the protocol that allows a single one, and rows are not all in memory. That also fixes
            # the transaction: no statement after it can make it write.
            return only_column(list(islice(cursor.stream(command.encode()), 2)))

    def age(self) -> Scalar:
        """By when its first process started."""
        return self.ask(AGE)

    def empty(self) -> None:
        """Drop every schema with all that it holds, and large objects."""
        self._connection.read_only, self._connection.autocommit = False, True
        self._connection.execute(EMPTY)

    @staticmethod
    async def load(loading: Loading) -> None:
        """Load it by psql or pg_restore, in one transaction."""
        given: dict[str, Any] = dict(conninfo_to_dict(loading.dsn))
        if given.get("sslpassword"):
            raise NotLoaded(
                "a connection with sslpassword would show it to others: use a key without a password"
            )
        password, form = given.pop("password", None), loading.dump.form
        options = [f"--dbname={make_conninfo(**given)}", "--single-transaction"]
        if form == "sql":
            options += ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
        else:
            options += ["--exit-on-error", "--no-owner", "--no-privileges"]
            options += ["--clean", "--if-exists"] if loading.overwrite else []
        if form != "folder":
            await loading.fed(*options, PGPASSWORD=password)
            return
        async with loading.unpacked() as folder:
            await loading.run(*options, folder, PGPASSWORD=password)
