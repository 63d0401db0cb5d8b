"""What the pages say of each resource, made from the definitions: a test compares it with what stands there.

A table of properties stands below `<!-- table: Snapshot inputs -->`. `make generated` writes all of them again, the
navigation of the resources, the scopes that each needs, and the README's links to their pages.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, get_origin

import pulumi_snapshots
from pulumi_snapshots.drill.check import Check, CheckResult
from pulumi_snapshots.drill.tables import TableRows, Tables
from pulumi_snapshots.guard.book import GUARD
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.lookup.results import (
    DATABASE,
    DATABASES,
    DOWNLOAD_URL,
    LATEST,
    SNAPSHOTS,
    DatabaseInfo,
)
from pulumi_snapshots.plugin.description import package as plugin
from pulumi_snapshots.properties.catalogue import (
    Bytes,
    Duration,
    Moment,
    Property,
    Record,
    Rows,
    in_camel,
    record_in,
)
from pulumi_snapshots.resources import RESOURCES, room_of
from pulumi_snapshots.run.settings import Settings, config_key, variable

SCHEMAS = [kind.schema for kind in plugin.RESOURCE_KINDS.values()]
LOOKUPS = (SNAPSHOTS, LATEST, DOWNLOAD_URL, DATABASE, DATABASES)
TYPES = {
    int: "int",
    Bytes: "int",
    Rows: "int",
    float: "float",
    bool: "bool",
    Duration: "duration",
    Moment: "time",
    datetime: "time",
    Any: "any",
}
PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
NAVIGATION = re.compile(r"(:caption: Resources\n:hidden:\n\n)((?:\w+\n)+)")
"""The pages of the resources, in `index.md`."""
LINKS = re.compile(r"^- Resources: .*$", re.MULTILINE)
"""The same pages, for readers outside the site."""
SCOPES = ("snapshots:read", "snapshots:write", "databases:read", "account:read")
SCOPES_OF_RESOURCES = re.compile(
    r"(<!-- scopes -->\n\|.*\n\| ---.*\n)((?:\| `[A-Z]\w+` \|.*\n)*)"
)
"""The first rows of the table of scopes, in `howto/api-key.md`."""
NAMED = re.compile(r"^(<!-- table: (.+) -->\n\n)((?:\S.*\n)*)", re.MULTILINE)


def tables_in(page: Path) -> dict[str, str]:
    return {name: text for _, name, text in NAMED.findall(page.read_text())}


def made(name: str) -> str:
    """A table as it should stand in its page."""
    return "".join(f"{line}\n" for line in TABLES[name]())


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    lines = [list(heads), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return [f"| {' | '.join(line)} |" for line in lines]


def code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def kind_of(each: Property) -> str:
    """The type of a property in one word, and whether it is a secret."""
    record = record_in(each.type)
    lists = get_origin(each.type) in {list, tuple}
    kind = "list" if lists else "object" if record else TYPES.get(each.type, "str")
    return f"{kind}, secret" if each.secret else kind


def inputs(record: type[Record]) -> list[str]:
    """What may be given, with defaults."""
    rows = [
        (f"`{name}`", f"{kind_of(each)}{_given(each)}", each.doc)
        for name, each in record.properties().items()
    ]
    return table(("input", "type, default", "meaning"), rows)


def _given(each: Property) -> str:
    if each.required:
        return ", required"
    return f", `{each.default_text}`" if each.default_text else ""


def outputs(properties: Iterable[Property]) -> list[str]:
    """What may be read."""
    rows = [
        (f"`{each.name}`", kind_of(each), each.doc)
        for each in properties
        if not each.internal
    ]
    return table(("output", "type", "meaning"), rows)


def lookups() -> list[str]:
    rows = []
    for lookup in LOOKUPS:
        given = inspect.signature(
            getattr(pulumi_snapshots, lookup.function)
        ).parameters.values()
        arguments = [
            one.name if one.default is one.empty else f"{one.name}={one.default}"
            for one in given
        ]
        doc = (inspect.getdoc(lookup.query) or "").partition("\n")[0]
        rows.append(
            (
                f"`{lookup.function}({', '.join(arguments)})`",
                doc,
                f"`{lookup.function}_output`",
            )
        )
    return table(("function", "returns", "for arguments that are outputs"), rows)


def settings() -> list[str]:
    rows = [
        (
            f"`{config_key(name)}`{' (secret)' if each.secret else ''}",
            f"`{variable(name)}`",
            f"`{each.default_text}`" if each.default_text else "",
            each.doc,
        )
        for name, each in Settings.properties().items()
    ]
    return table(("Pulumi config", "environment", "default", "meaning"), rows)


def plugin_resources() -> list[str]:
    """The resources by their names in every language."""
    accepted = [(kind.schema, kind.accepted) for kind in plugin.RESOURCE_KINDS.values()]
    accepted.append(
        (GUARD, [each.camel for each in GUARD.inputs.properties().values()])
    )
    rows = [
        (
            f"`{schema.name}`",
            code(given),
            code(
                each.camel
                for name, each in schema.outputs.items()
                if name not in schema.inputs.properties()
            ),
        )
        for schema, given in accepted
    ]
    return table(("resource", "inputs", "more outputs"), rows)


def plugin_functions() -> list[str]:
    """The functions by their names in every language."""
    rows = [
        (
            f"`{in_camel(lookup.function)}`",
            code(each.camel for each in lookup.query.properties().values()) or "none",
            code(each.camel for each in lookup.result.properties().values()),
        )
        for lookup in plugin.FUNCTIONS.values()
    ]
    return table(("function", "arguments", "brings"), rows)


TABLES: dict[str, Callable[[], list[str]]] = {
    **{f"{schema.name} inputs": partial(inputs, schema.inputs) for schema in SCHEMAS},
    **{
        f"{schema.name} outputs": partial(outputs, schema.record.properties().values())
        for schema in SCHEMAS
    },
    **{
        f"{lookup.function} arguments": partial(inputs, lookup.query)
        for lookup in LOOKUPS
    },
    **{
        record.__name__: partial(outputs, record.properties().values())
        for record in (Request, DatabaseInfo, CheckResult, TableRows)
    },
    "Check": partial(inputs, Check),
    "Tables": partial(inputs, Tables),
    "lookups": lookups,
    "settings": settings,
    "plugin resources": plugin_resources,
    "plugin functions": plugin_functions,
    "plugin settings": lambda: [
        code(each.camel for each in Settings.properties().values())
    ],
}


def navigation() -> str:
    """The pages of the resources, between that of the guard and that of the lookups."""
    pages = ("guard", *map(room_of, RESOURCES), "lookups")
    return "".join(f"{page}\n" for page in pages)


def links() -> str:
    """The line of `index.md` with the page of each resource."""
    pages = {"Guard": "guard", **{name: room_of(name) for name in RESOURCES}}
    named = [f"[{name}]({page}.md)" for name, page in pages.items()]
    return f"- Resources: {', '.join(named)}"


def scopes() -> str:
    """The rows of the resources."""
    rows = ""
    for schema in SCHEMAS:
        words = dict.fromkeys(schema.scopes, " yes")
        words |= dict.fromkeys(schema.scopes_for_more, " more")
        cells = [f"{words.get(each, '')} |" for each in SCOPES]
        rows += f"| `{schema.name}` |{''.join(cells)}\n"
    return rows


def written(page: Path) -> str:
    """What a page has to hold."""
    text = NAMED.sub(lambda found: found[1] + made(found[2]), page.read_text())
    text = LINKS.sub(links(), text)
    text = NAVIGATION.sub(lambda found: found[1] + navigation(), text)
    return SCOPES_OF_RESOURCES.sub(lambda found: found[1] + scopes(), text)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(written(path))
