"""What the project promises about security and support: the tests that it names exist."""

import re
import tomllib
from pathlib import Path

import yaml  # type: ignore[import-untyped]

PROJECT = Path(__file__).resolve().parent.parent
THREATS = (PROJECT / "docs" / "threat-model.md").read_text()
SUPPORT = (PROJECT / "docs" / "support.md").read_text()
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def existing_tests() -> set[str]:
    found = set[str]()
    for file in (PROJECT / "tests").rglob("test_*.py"):
        found |= set(
            re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
        )
    return found


def test_each_protection_names_a_test_that_shows_it() -> None:
    named = set[str]()
    for section in THREATS.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        rows = [
            line.strip("| ").split(" | ")
            for line in section.splitlines()
            if line.startswith("| ") and not line.startswith(("| ---", "| can |"))
        ]
        assert rows, title
        for row in rows:
            tests = re.findall(r"`(test_\w+)`", row[2])
            assert tests, (title, row[0])
            named |= set(tests)
        assert "\n**Not protected:** " in section, (
            f"{title}: nothing is ever wholly safe"
        )
    assert sorted(named - existing_tests()) == []


def test_each_limit_of_dynamic_providers_names_a_test_that_shows_the_way() -> None:
    page = (PROJECT / "docs" / "dev" / "authors.md").read_text()
    section = page.partition("\n## What a dynamic provider cannot do elsewhere\n")[2]
    rows = [
        each
        for each in section.partition("\n## ")[0].splitlines()
        if each.startswith("| ")
    ]
    assert len(rows) > 8
    for row in rows[2:]:
        limit, thread, _, shown = row.strip("| ").split(" | ")
        assert re.search(
            r"\]\(https://github\.com/pulumi/pulumi/(?:issues|pull)/\d+\)", thread
        ), limit
        assert shown == "the same" or shown.strip("`") in existing_tests(), limit


def test_a_finder_of_a_flaw_knows_where_to_report_it_and_what_counts() -> None:
    text = (PROJECT / "SECURITY.md").read_text()
    assert "Report a vulnerability" in text
    assert "Never send a real API\nkey" in text
    for what in ("API keys", "Dumps", "Identities of age"):
        assert (
            f"- **{what}" in text.partition("\n## In scope\n")[2].partition("\n## ")[0]
        )
    assert "(SECURITY.md)" in (PROJECT / "CONTRIBUTING.md").read_text()


def test_the_support_policy_promises_what_the_metadata_says() -> None:
    oldest = METADATA["requires-python"].removeprefix(">=")
    assert f"| Python | every version from {oldest} on that has" in SUPPORT
    for section in ("What is promised", "Deprecation", "Experimental"):
        assert f"\n## {section}\n" in SUPPORT


def test_the_update_bot_knows_each_kind_of_dependency() -> None:
    updates = yaml.safe_load((PROJECT / ".github" / "dependabot.yml").read_text())[
        "updates"
    ]
    folders = {
        each["package-ecosystem"]: each.get("directories") or [each["directory"]]
        for each in updates
    }
    for kind, name in (("npm", "package.json"), ("gomod", "go.mod")):
        there = (path.parent for path in (PROJECT / "examples").glob(f"*/{name}"))
        assert sorted(folders[kind]) == sorted(
            f"/{path.relative_to(PROJECT)}" for path in there
        )
    assert {"github-actions", "pip"} <= set(folders)
    assert all(each["cooldown"]["default-days"] >= 7 for each in updates)
