"""A PostgreSQL database with many kinds of objects and values, and queries that show all of them."""

from typing import Any

import psycopg
from psycopg import sql

from tools.servers import Server

SCHEMA = """
CREATE TYPE state AS ENUM ('open', 'paid', 'zurück');
CREATE DOMAIN amount AS numeric(12, 4) CHECK (VALUE >= 0);
CREATE TABLE customer (
    id integer GENERATED ALWAYS AS IDENTITY (START WITH 40) PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> ''),
    data jsonb, photo bytea, ref uuid, tags text[], seen timestamptz, day date, span interval, place point, net inet);
CREATE TABLE "Bestellung für 日本" (
    nr bigserial PRIMARY KEY, customer integer NOT NULL REFERENCES customer ON DELETE RESTRICT, state state NOT NULL,
    price amount, ratio double precision, total numeric GENERATED ALWAYS AS (price * 2) STORED, during tstzrange);
COMMENT ON TABLE customer IS 'who buys — 🧾';
CREATE INDEX open_orders ON "Bestellung für 日本" (customer) WHERE state = 'open';
CREATE SEQUENCE tickets START 1000 INCREMENT 7;
CREATE VIEW owed AS SELECT customer, sum(total) AS sum FROM "Bestellung für 日本" WHERE state <> 'paid' GROUP BY customer;
CREATE MATERIALIZED VIEW names AS SELECT name FROM customer;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.seen := '2026-03-01T12:00Z'; RETURN NEW; END$$;
CREATE TRIGGER touched BEFORE UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION touch();
CREATE SCHEMA other; CREATE TABLE other.empty ();
INSERT INTO customer (name, data, photo, ref, tags, seen, day, span, place, net) VALUES
    ('Zoë 🦉 O''Hara', '{"a": [1, null, "ü"]}', '\\x00ff2700', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
     ARRAY['x,y', NULL, '"q"', E'line\\nbreak'], '2026-02-28T23:59:59.999999+01', 'infinity', '1 mon -2 days', '(1.5,-2)',
     '2001:db8::/32'),
    ('空', NULL, NULL, NULL, '{}', NULL, '0044-03-15 BC', NULL, NULL, NULL);
INSERT INTO "Bestellung für 日本" (customer, state, price, ratio, during) VALUES
    (40, 'open', 12.3456, 'NaN', '[2026-01-01,2026-02-01)'), (41, 'zurück', 99999999.9999, 0.1, 'empty'),
    (40, 'paid', NULL, '-Infinity', NULL);
REFRESH MATERIALIZED VIEW names;
SELECT nextval('tickets'), nextval('tickets');
SELECT lo_from_bytea(424242, decode(repeat('00ff10', 3000), 'hex'));
"""
SPOIL = """
UPDATE customer SET name = name || ' lost', data = '{}';
DELETE FROM "Bestellung für 日本" WHERE state = 'open';
INSERT INTO customer (name) VALUES ('later');
SELECT nextval('tickets'), setval('customer_id_seq', 900);
ALTER TABLE "Bestellung für 日本" DROP CONSTRAINT "Bestellung für 日本_customer_fkey";
DROP VIEW owed; CREATE TABLE added (n integer); DROP TABLE other.empty;
SELECT lo_unlink(424242), lo_from_bytea(7, 'x');
"""
QUERIES = {
    "tables": "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'other') ORDER BY 1, 2",
    "columns": """SELECT table_schema, table_name, column_name, data_type, udt_name, domain_name, column_default,
        is_nullable, is_identity, identity_start, generation_expression FROM information_schema.columns
        WHERE table_schema IN ('public', 'other') ORDER BY 1, 2, ordinal_position""",
    "constraints": """SELECT conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace::regnamespace::text IN ('public', 'other') ORDER BY 1, 3""",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "sequences": "SELECT sequencename, start_value, increment_by, last_value FROM pg_sequences ORDER BY 1",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
    "materialized": "SELECT name FROM names ORDER BY 1",
    "enums": "SELECT enumlabel FROM pg_enum ORDER BY enumsortorder",
    "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "functions": "SELECT pg_get_functiondef('touch'::regproc)",
    "comments": "SELECT obj_description('customer'::regclass)",
    "large objects": "SELECT oid::text, encode(lo_get(oid), 'hex') FROM pg_largeobject_metadata ORDER BY 1",
    "customers": "SELECT * FROM customer ORDER BY 1",
    "orders": 'SELECT * FROM "Bestellung für 日本" ORDER BY 1',
}


def sql_at(url: str, *statements: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def databases_of(server: Server) -> set[str]:
    return {name for (name,) in sql_at(server.url(), "SELECT datname FROM pg_database")}


def content_of(url: str) -> dict[str, Any]:
    """Read everything that a restore must bring back: rows, types, sequences, constraints and other objects."""
    seen: dict[str, Any] = {}
    with psycopg.connect(
        url, autocommit=True, options="-c search_path=public -c timezone=UTC"
    ) as connection:
        for what, query in QUERIES.items():
            # Rows as PostgreSQL writes them: Python has no infinite date, and NaN differs from itself.
            rows = connection.execute(
                f"SELECT q::text FROM ({query}) AS q".encode()  # noqa: S608  our own
            ).fetchall()
            seen[what] = [row[0] for row in rows]
    return seen


def filled(url: str) -> dict[str, Any]:
    """Fill an empty database; returns its content."""
    sql_at(url, *(statement for statement in SCHEMA.split(";\n") if statement.strip()))
    return content_of(url)


def fresh(server: Server, name: str) -> str:
    """Make an empty database beside the emulator's; returns its URL."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(
                sql.Identifier(name)
            )
        )
    return server.url(name)
