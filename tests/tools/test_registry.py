"""The pages for Pulumi's registry: made from the docs, complete, and without a link that leads nowhere."""

import json
import re
from email.message import Message
from importlib.metadata import PackageMetadata
from pathlib import Path
from typing import cast

import pytest
import yaml  # type: ignore[import-untyped]

from pulumi_snapshots.plugin.description.identity import Identity
from pulumi_snapshots.plugin.description.package import FUNCTIONS, RESOURCE_KINDS
from pulumi_snapshots.plugin.description.schema import LANGUAGES
from pulumi_snapshots.run.settings import Settings, config_key, variable
from tools import registry

LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")


def identity(**urls: str) -> Identity:
    about = Message()
    for label, url in urls.items():
        about["Project-URL"] = f"{label}, {url}"
    return Identity(cast("PackageMetadata", about))


NOWHERE = registry.pages(identity())


@pytest.mark.parametrize("name", ["_index.md", "installation-configuration.md"])
def test_a_page_has_the_registrys_frame_and_no_dead_link(name: str) -> None:
    _, front, text = NOWHERE[name].split("---\n", 2)
    assert set(yaml.safe_load(front)) == {"title", "meta_desc", "layout"}
    assert "<!--" not in text, "no mark of ours"
    headings = {
        re.sub(r"[^\w -]", "", each.lower()).strip().replace(" ", "-")
        for each in re.findall(r"^#+ (.*)", text, re.MULTILINE)
    }
    for target in LINK.findall(text):
        assert target.startswith("https://") or target.removeprefix("#") in headings, (
            target
        )


def test_a_reader_sees_each_language_and_can_install_and_configure_it() -> None:
    first = NOWHERE["_index.md"]
    second = NOWHERE["installation-configuration.md"]
    for token in (*RESOURCE_KINDS, *FUNCTIONS):
        assert f"| `{token.rpartition(':')[2]}` | " in first
    for language in LANGUAGES:
        assert f"{{{{% choosable language {language} %}}}}\n\n```{language}\n" in first
    assert "One request, one snapshot" in first, "the README's own words"
    for name in Settings.properties():
        assert f"`{config_key(name)}`" in second
        assert f"`{variable(name)}`" in second
    for command in (
        "pulumi plugin install resource squarecloud",
        "pulumi package add squarecloud",
        "pulumi config set --secret squarecloud:apiKey",
        "export SQUARECLOUD_API_KEY=",
    ):
        assert command in second


def test_links_lead_to_the_documentation_once_it_has_an_address() -> None:
    page = registry.pages(identity(Documentation="https://shop.invalid/docs"))[
        "installation-configuration.md"
    ]
    assert "(https://shop.invalid/docs/waiting.html)" in page
    assert ".md" not in " ".join(LINK.findall(page))


def test_a_review_shows_each_change_of_the_interface() -> None:
    assert registry.stale() == [], "run `make registry`, and commit what it writes"
    names = [str(path.relative_to(registry.PROJECT)) for path in registry.files()]
    assert names == [
        "docs/_index.md",
        "docs/installation-configuration.md",
        "schema.json",
    ]
    assert json.loads(registry.SCHEMA.read_text())["name"] == "squarecloud"


def test_a_file_that_is_out_of_date_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, place in (("PROJECT", "."), ("PAGES", "docs"), ("SCHEMA", "schema.json")):
        monkeypatch.setattr(registry, name, tmp_path / place)
    sources = Path(__file__).resolve().parents[2]
    for name in ("README.md", "docs/plugin.md", "docs/settings.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((sources / name).read_text())
    monkeypatch.setattr("sys.argv", ["registry", "--check"])
    assert registry.main() == 1
    monkeypatch.setattr("sys.argv", ["registry"])
    assert registry.main() == 0
    assert registry.stale() == []
    registry.SCHEMA.write_text("{}")
    capsys.readouterr()
    assert [path.name for path in registry.stale()] == ["schema.json"]
    assert registry.main() == 0
    assert capsys.readouterr().out == "schema.json\n"
    assert registry.stale() == []


def test_a_section_that_was_renamed_is_reported() -> None:
    with pytest.raises(LookupError, match="no section 'SDKs in Rust'"):
        registry._section("# A page\n\n## Install\n", "SDKs in Rust")
