"""The two pages and the schema that Pulumi's registry asks for.

`python -m tools.registry` writes them where the registry reads them; `--check` only names those
that are not up to date.

What the pages say stands in the README, in docs/ and in the schema's examples; only the frame
around it is written here.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from pulumi_snapshots.plugin.description.identity import Identity
from pulumi_snapshots.plugin.description.schema import LANGUAGES, example, schema

PROJECT = Path(__file__).resolve().parent.parent
SCHEMA = PROJECT / "schema.json"
PAGES = PROJECT / "docs"
"""The folder of the pages, by the registry's rule."""
CONFIGURE = """\
With Pulumi config, encrypted in the stack's file and its state:

```sh
pulumi config set --secret squarecloud:apiKey
```

Or by the environment, which no state stores:

```sh
export SQUARECLOUD_API_KEY=YOUR_API_KEY
```"""
SDKS = "SDKs for other languages"
"""The section of docs/plugin.md that says how to get an SDK."""


def pages(identity: Identity) -> dict[str, str]:
    """The text of each page by its file's name."""
    return {
        "_index.md": _index(identity),
        "installation-configuration.md": _installation(identity),
    }


def _index(identity: Identity) -> str:
    made = schema()
    readme = (PROJECT / "README.md").read_text()
    pitch = readme.partition("database snapshots with Pulumi.\n")[2].partition("\n## ")[
        0
    ]
    rows = [
        f"| `{token.rpartition(':')[2]}` | {described['description'].partition(chr(10))[0]} |"
        for part in ("resources", "functions")
        for token, described in made[part].items()
    ]
    return _page(
        made["displayName"],
        made["description"],
        _linked(pitch, identity),
        "## Example",
        _chooser("Snapshot"),
        "## What there is",
        "\n".join(["| resource or function | what it is |", "| --- | --- |", *rows]),
    )


def _installation(identity: Identity) -> str:
    plugin, settings = map(_text, ("plugin.md", "settings.md"))
    name = schema()["displayName"]
    return _page(
        f"{name}: installation and configuration",
        f"How to install and configure {name}.",
        "## Installation",
        _linked(_section(plugin, "Install"), identity),
        "## SDKs",
        _linked(_section(plugin, SDKS), identity),
        "## Configuration",
        CONFIGURE,
        _linked(settings.partition("\n")[2], identity),
    )


def _text(name: str) -> str:
    """A page of docs/, without the names of its tables."""
    return re.sub(r"<!-- table: .+ -->\n\n", "", (PROJECT / "docs" / name).read_text())


def _section(page: str, title: str) -> str:
    """What is below a heading, up to the next one of its level."""
    before, found, after = page.partition(f"\n## {title}\n")
    if not found:
        raise LookupError(
            f"no section {title!r} in a page that begins with {before[:40]!r}"
        )
    return after.partition("\n## ")[0]


def _page(title: str, about: str, *parts: str) -> str:
    front = f'---\ntitle: "{title}"\nmeta_desc: "{about}"\nlayout: package\n---'
    return "\n\n".join([front, *(part.strip() for part in parts)]) + "\n"


def _chooser(name: str) -> str:
    """An example with a tab for each language, as the registry's site shows it."""
    tabs = [
        (
            f"{{{{% choosable language {language} %}}}}\n\n```{language}\n"
            f"{example(language, name)}\n```\n\n{{{{% /choosable %}}}}"
        )
        for language in LANGUAGES
    ]
    return "\n\n".join(
        [
            f'{{{{< chooser language "{",".join(LANGUAGES)}" >}}}}',
            *tabs,
            "{{< /chooser >}}",
        ]
    )


def _linked(text: str, identity: Identity) -> str:
    """The text with links into the site of the documentation.

    Without links to its pages if it has no address.
    """

    def link(found: re.Match[str]) -> str:
        words = found[1]
        target = found[2]
        if "://" in target or target.startswith("#"):
            return found[0]
        page, _, anchor = target.removeprefix("docs/").partition("#")
        if identity.documentation is None or not page.endswith(".md"):
            return words
        address = f"{identity.documentation}/{page.removesuffix('.md')}.html"
        return f"[{words}]({address}{'#' if anchor else ''}{anchor})"

    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", link, text)


def files() -> dict[Path, str]:
    """What each file has to hold."""
    made = {PAGES / name: text for name, text in pages(Identity()).items()}
    return {**made, SCHEMA: _json(schema())}


def stale() -> list[Path]:
    """The files that hold something else, or are missing."""
    return [
        path
        for path, text in files().items()
        if not path.exists() or path.read_text() != text
    ]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write those that are not up to date, or only name them."""
    found = stale()
    for path in found:
        print(path.relative_to(PROJECT))
    if "--check" in sys.argv[1:]:
        return int(bool(found))
    for path in found:
        path.write_text(files()[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
