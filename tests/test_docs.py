"""The pages of docs/, each in the navigation, whose links lead somewhere and whose site is made without a warning; and the README."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import click
import pulumi
import pytest
import yaml  # type: ignore[import-untyped]

import pulumi_snapshots
from pulumi_snapshots import errors
from pulumi_snapshots.cli.commands import commands
from pulumi_snapshots.cli.setup.doctor import OLDEST_ENGINE
from pulumi_snapshots.listing.quota import daily_quota
from pulumi_snapshots.plugin.description.identity import NO_UPLOAD
from pulumi_snapshots.resources import RESOURCES, room_of
from tools import registry
from tools.engine import ENGINE, LANGUAGE_HOST

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
PAGES = sorted({*DOCS.rglob("*.md")} - {*registry.files()})
CONTRIBUTING = DOCS / "dev" / "index.md"
EXAMPLES = sorted((PROJECT / "examples").glob("*/README.md"))
AT_THE_ROOT = [
    PROJECT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")
]
READ = [*AT_THE_ROOT, *PAGES, *EXAMPLES]
MEASURED = sorted((PROJECT / "bench").glob("*.md"))
TOCTREE = re.compile(
    r"^```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)^```", re.MULTILINE | re.DOTALL
)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INCLUDED = re.compile(r"^```\{(?:include|literalinclude)\} (\S+)", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link may name in a page: its headings, as a repository's own view of Markdown turns them into anchors."""
    text = page.read_text()
    for included in INCLUDED.findall(text):
        if included.endswith(".md"):
            text += (page.parent / included).read_text()
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def test_every_page_is_in_the_navigation_once() -> None:
    listed: Counter[Path] = Counter()
    for page in PAGES:
        for entries in TOCTREE.findall(page.read_text()):
            listed.update(page.parent / f"{entry}.md" for entry in entries.split())
    assert listed == Counter(
        page
        for page in PAGES
        if page not in {DOCS / "index.md", DOCS / "404.md", CONTRIBUTING}
    )


def test_users_do_not_see_the_pages_for_contributors_in_their_navigation(
    site: Path,
) -> None:
    (navigation,) = re.findall(
        r'<div class="sidebar-tree">(.*?)</div>\n',
        (site / "index.html").read_text(),
        re.DOTALL,
    )
    assert 'href="start.html"' in navigation
    assert 'href="dev/' not in navigation
    assert CONTRIBUTING.read_text().startswith("---\norphan: true\n---\n")


def test_links_lead_to_pages_and_headings_that_there_are() -> None:
    for page in (*READ, PROJECT / "tests" / "README.md", *MEASURED):
        for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text())):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not target.startswith(("http:", "https:")):
                assert file.exists(), (page, target)
                assert not anchor or anchor in anchors(file), (page, target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # What `make docs` runs, into another folder.
    options = ("--quiet", "--fail-on-warning", "--keep-going", str(DOCS), str(folder))
    command = [sys.executable, "-m", "sphinx", *options]
    result = subprocess.run(  # noqa: S603  a fixed command
        command, capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert result.returncode == 0, result.stderr
    return folder


def test_the_reference_has_every_public_name(site: Path) -> None:
    reference = (site / "reference.html").read_text()
    missing = [
        name
        for name in dir(pulumi_snapshots)
        if f'id="pulumi_snapshots.{name}"' not in reference
    ]
    assert missing == []
    # What every resource of Pulumi has would hide what a snapshot has.
    assert [
        name
        for name in dir(pulumi.Resource)
        if f'"pulumi_snapshots.Snapshot.{name}"' in reference
    ] == []
    assert ">download_url_expires_at<" in reference, (
        "the outputs of resources are described"
    )
    # An attribute's docstring that begins with words and a colon is taken for its type.
    assert ">Type<" not in reference


def test_the_site_loads_nothing_from_elsewhere_and_can_be_searched(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = r'<(?:script|img|iframe|link rel="stylesheet")[^>]*(?:src|href)="(?:https?:)?//'
        assert re.findall(loaded, page.read_text()) == []
    index = (site / "searchindex.js").read_text()
    for word in (
        "reuse_within",
        "keyrefus",
        "pin",
        "docker",
        "terraform",
    ):  # as its stemmer has them
        assert re.search(rf'[{{,"]{word}"?:', index), word


SEARCH = """
const { readFileSync } = require("fs");
const script = (name) => readFileSync(`${process.argv[1]}/${name}`, "utf8");
const document = { addEventListener() {}, getElementById: () => ({}) };
const localStorage = { setItem() {} };
const window = globalThis;
const DOCUMENTATION_OPTIONS = {};
const _ready = () => {}, SPHINX_HIGHLIGHT_ENABLED = false;
eval(`${script("_static/language_data.js")}
${script("_static/searchtools.js")}
${script("searchindex.js")}
for (const query of process.argv.slice(2)) {
  const found = Search._performSearch(...Search._parseQuery(query)).reverse();
  console.log(found.slice(0, 3).map(([page]) => page).join(" "));
}`);
"""
"""Prints the first three pages that the site's own search finds for each query."""


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("202", "faq"),
        ("402", "faq"),
        ("429", "faq"),
        ("503", "faq"),
        ("404", "errors/database"),
        ("409", "errors/database"),
        ("500", "errors/service"),
        ("lost state", "faq"),
        ("roll back", "faq"),
        ("undo", "faq"),
        ("retention", "faq"),
        ("notification", "faq"),
        ("get my data back", "howto/get-my-data-back"),
    ],
)
def test_the_search_finds_statuses_and_what_a_user_calls_things(
    site: Path, query: str, page: str
) -> None:
    command = ["node", "--eval", SEARCH, str(site), query]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert page in found.stdout.split()


def test_a_newcomer_sees_why_and_guard_before_how_to_install(site: Path) -> None:
    landing = (site / "index.html").read_text().partition("<h1>")[2]
    parts = ("Accepted</span>", ">Guard</span>", "curl", r"pip(<[^>]*>|\s)+install")
    found = [re.search(part, landing) for part in parts]
    places = [part.start() if part else -1 for part in found]
    assert places == sorted(places)
    assert -1 not in places
    assert "not yet run against the real service" in landing
    assert "_static/site.js" in landing


def test_the_site_has_the_tables_of_properties(site: Path) -> None:
    for page, name in (
        ("snapshot", "download_url_expires_at"),
        ("archive", "sha256"),
        ("settings", "POLL_EVERY"),
    ):
        rows = re.findall(
            r"<tr.*?</tr>", (site / f"{page}.html").read_text(), re.DOTALL
        )
        assert any(name in row for row in rows), page


def test_pages_quote_the_benchmark_as_it_is() -> None:
    measured = (PROJECT / "bench" / "fleets.md").read_text()
    row = re.search(
        r"^\| 50 \| this provider \| (\d+) \| x ([\d.]+) \| ([\d.]+) \| 0 \|",
        measured,
        re.MULTILINE,
    )
    assert row is not None
    landing = " ".join((DOCS / "index.md").read_text().split())
    assert f"which is simulated, fifty snapshots take {row[1]} s" in landing
    assert f"{row[2]} times the theoretical minimum" in landing
    assert f"with {float(row[3]):.1f} requests each" in landing
    minutes = {7: "seven", 8: "eight", 9: "nine"}[round(int(row[1]) / 60)]
    readme = " ".join((PROJECT / "README.md").read_text().split())
    claim = f"In a simulation, snapshots of fifty databases take {minutes} minutes,"
    assert claim in readme


def test_the_page_for_authors_names_what_the_package_has() -> None:
    page = (DOCS / "dev" / "authors.md").read_text()
    package = PROJECT / "pulumi_snapshots"
    table = page.partition("\n## Folders\n")[2].partition("\n## ")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    # A resource has a page of its own.
    assert named | {*map(room_of, RESOURCES)} == folders
    used = page.partition("\n| feature | where it is |")[2].partition("\n\n")[0]
    files = (package / "dynamic" / "engine_access.py", *package.glob("engine/*.py"))
    code = "".join(path.read_text() for path in files)
    assert [name for name in re.findall(r"`(\w+)`", used) if name not in code] == []
    # How a provider learns of the engine's process, which the engine tells nobody: what the page says is what is there.
    functions = re.findall(
        r"^def ([a-z]\w+)",
        (package / "engine" / "process.py").read_text(),
        re.MULTILINE,
    )
    assert set(functions) <= set(re.findall(r"`(\w+)`", used))


def test_the_page_about_tests_names_the_folders_and_files_that_there_are() -> None:
    text = (PROJECT / "tests" / "README.md").read_text()
    table = text.partition("\n## Where a test belongs\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][
        2:
    ]
    listed = {name for cell in rows for name in re.findall(r"`([\w-]+)`", cell)}
    folders = {path.parent for path in (PROJECT / "tests").rglob("test_*.py")}
    there = {
        path.relative_to(PROJECT / "tests").parts[0]
        for path in folders
        if path != PROJECT / "tests"
    }
    # The page says that a folder of the package has its tests in one of the same name.
    assert (
        there
        - {path.parent.name for path in PROJECT.glob("pulumi_snapshots/*/__init__.py")}
        <= listed
        <= there
    )
    for path in re.findall(r"`((?:tests|docs|tools)/[\w/.-]+)`", text):
        assert (PROJECT / path).exists(), path


# What the pages show ---------------------------------------------------------------------------------------------------

FENCES = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    return [
        text
        for language, text in FENCES.findall(page.read_text())
        if language in languages
    ]


def test_a_file_to_copy_is_yaml() -> None:
    for page in READ:
        for text in blocks(page, "yaml"):
            assert isinstance(yaml.safe_load(text), dict), page


def commands_in(page: Path) -> list[list[str]]:
    """The words after `squarecloud-snapshots`, in code of any kind."""
    found = re.findall(
        r"squarecloud-snapshots ([a-z][^`\n]*)", page.read_text().replace("\\\n", " ")
    )
    return [
        re.split(r"\s*(?:[|&;<>#)(]|\s/)", text, maxsplit=1)[0].split()
        for text in found
    ]


def test_a_command_and_its_options_exist() -> None:
    for words in (words for page in READ for words in commands_in(page)):
        command: click.Command = commands
        # the rest is another command
        own = words[: words.index("--")] if "--" in words else words
        rest = [word.strip("\"',.:") for word in own]
        while isinstance(command, click.Group):
            command = command.commands[rest.pop(0)]
        known = {
            name for one in command.params for name in (*one.opts, *one.secondary_opts)
        } | {"--help"}
        assert {
            word.partition("=")[0] for word in rest if word.startswith("--")
        } <= known, words


def test_a_program_passes_arguments_that_exist() -> None:
    for text in (text for page in READ for text in blocks(page, "python")):
        for call in ast.walk(ast.parse(text)):
            name = (
                call.func.id
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
                else ""
            )
            if isinstance(call, ast.Call) and name in dir(pulumi_snapshots):
                named = {one.arg: None for one in call.keywords if one.arg}
                inspect.signature(getattr(pulumi_snapshots, name)).bind_partial(
                    *call.args, **named
                )


def test_the_table_of_the_daily_quota_says_what_the_code_counts() -> None:
    rows = re.findall(
        r"^\| (\d+) MB \| (\d+) \|$", (DOCS / "faq.md").read_text(), re.MULTILINE
    )
    assert len(rows) > 4
    assert [int(count) for _, count in rows] == [
        daily_quota(int(ram)) for ram, _ in rows
    ]


def test_the_page_of_versions_names_those_that_are_needed_and_tested() -> None:
    page = (DOCS / "platforms.md").read_text()
    rows = {
        cells[0]: cells[1:]
        for line in page.splitlines()
        if (cells := line.strip("| ").split(" | "))[2:]
    }
    metadata = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    sdk = next(one for one in metadata["dependencies"] if one.startswith("pulumi>="))
    assert (
        rows["Python"][0]
        == f"{metadata['requires-python'].removeprefix('>=')} or later"
    )
    assert rows["Pulumi's Python SDK"][0] == f"{sdk.removeprefix('pulumi>=')} or later"
    assert (
        rows["Pulumi engine, dynamic provider"][0]
        == f"{OLDEST_ENGINE[0]}.{OLDEST_ENGINE[1]} or later"
    )
    for name in ("dynamic provider", "[plugin](plugin.md)"):
        assert rows[f"Pulumi engine, {name}"][1] == ENGINE
    assert rows["Python language host"][1].startswith(LANGUAGE_HOST)


# The README: short, and says what is so ---------------------------------------------------------------------------------

README = (PROJECT / "README.md").read_text()
HOWTO = (PROJECT / "docs" / "howto.md").read_text()
PUBLISHED = (
    NO_UPLOAD
    not in tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"][
        "classifiers"
    ]
)
MOST_WORDS = 480


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_a_newcomer_sees_every_resource_in_two_minutes_and_the_way_back_first() -> None:
    kinds = {name: getattr(pulumi_snapshots, name) for name in dir(pulumi_snapshots)}
    resources = [
        name
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, pulumi.Resource)
    ]
    assert resources
    assert [
        name for name in resources if not re.search(rf"(?:`|\[){name}\b", README)
    ] == []
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    assert len(re.sub(r"\]\([^)]*\)", "]", prose).split()) <= MOST_WORDS
    back = "howto/get-my-data-back.md"
    assert f"(docs/{back})" in README
    assert re.findall(r"\]\(([^)]*)\)", HOWTO)[0] == back


def test_the_first_page_ends_with_six_links_and_has_few_others() -> None:
    ways = re.findall(r"\]\(([^)]*)\)", section("Learn more"))
    assert len(ways) == 6
    needed = {
        "https://squarecloud.app",
        "https://www.pulumi.com/docs/install/",
        "docs/howto/get-my-data-back.md",
        "docs/howto/api-key.md#scopes",
        "docs/probe.md",
    }
    assert {*re.findall(r"\]\(([^)]*)\)", README)} - {*ways} == needed


def test_the_install_command_works_today() -> None:
    """A classifier in pyproject.toml decides: once it is gone, this test names what the pages must say then."""
    assert errors.PUBLISHED is PUBLISHED, "what errors say to install works today too"
    clone = "pip install '/path/to/clone[cli]'"
    index = "pip install 'pulumi-snapshots[cli]'"
    first = section("Install").partition("```sh\n")[2].partition("```")[0]
    assert first == (
        f"{index}\n" if PUBLISHED else f"{clone}    # once published: {index}\n"
    )
    for page in PAGES:
        text = page.read_text()
        if "pip install 'pulumi-snapshots" in text:
            assert ("/path/to/clone[" in text) is not PUBLISHED, page.name


def test_installing_from_an_index_is_explained_once_for_all_pages_of_the_site() -> None:
    # The registry shows the plugin's section alone, so it says how in its own words.
    explained = {
        page.name for page in PAGES if "nce it is published" in page.read_text()
    }
    assert explained == (set() if PUBLISHED else {"install.md"})
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    rows = (
        (DOCS / "install.md")
        .read_text()
        .partition("\n| extra | for |\n")[2]
        .partition("\n\n")[0]
    )
    first_cells = [row.split("|")[1] for row in rows.splitlines()]
    named = {name for cell in first_cells for name in re.findall(r"`([\w-]+)`", cell)}
    assert named == extras.keys() - {"docs"}


def test_a_missing_page_has_one_of_the_site_in_its_place(site: Path) -> None:
    page = (site / "404.html").read_text()
    assert 'href="howto/get-my-data-back.html"' in page
    assert 'href="start.html"' in page


def test_a_reader_learns_what_was_tried_and_what_was_not() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"][
        "version"
    ]
    status = section("Status")
    assert f"Version {version}, {'' if PUBLISHED else 'not '}published" in status
    assert "not yet run against the real service" in status
    assert "docs/probe.md" in status


def test_a_reader_finds_every_example() -> None:
    assert (
        sorted(folder / "README.md" for folder in (PROJECT / "examples").iterdir())
        == EXAMPLES
    )
    listed = re.findall(
        r"^\| \[`examples/([\w-]+)`\]\(\.\./examples/\1/README\.md\) \|",
        HOWTO,
        re.MULTILINE,
    )
    assert sorted(listed) == [page.parent.name for page in EXAMPLES]
    for page in EXAMPLES:
        first = next(
            folder for folder in page.parents if (folder / "Pulumi.yaml").is_file()
        )
        main = re.search(
            r"^main: (.+)$", (first / "Pulumi.yaml").read_text(), re.MULTILINE
        )
        assert (first / main[1] if main else first) == page.parent
