"""What a tag releases, and the workflows that do it; no workflow runs here."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pulumi_snapshots.plugin.description.identity import NO_UPLOAD
from tools import release, version

PROJECT = Path(__file__).resolve().parents[2]
FILES = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
READY = """
[project]
version = "1.2.0"
classifiers = []
authors = [{ name = "The Shop" }]
urls = { Repository = "https://github.com/Shop/snapshots" }
"""
CHANGES = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n\n### Added\n\n- Much.\n\n## [1.1.0] - 2026-11-01\n\n- Old.\n"
AT_GITHUB = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "shop/snapshots",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(READY)
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    texts = {
        "README.md": "# Us\n\nVersion 1.2.0, published.\n",
        "docs/plugin.md": "pulumi plugin install resource squarecloud 1.2.0\n",
        "docs/dev/publishing.md": "the tag v1.2.0\n",
        "examples/go/go.mod": "shop/sdk/go v1.2.0\n",
        "examples/guard-go/go.mod": "shop/sdk/go v1.2.0\n",
        str(release.STATES / "1.2.0" / "formats.json"): "{}",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert texts.keys() >= version.PLACES.keys()
    return tmp_path


def test_a_release_that_is_ready_has_its_notes(project: Path) -> None:
    assert release.NO_UPLOAD == NO_UPLOAD, "the tool runs without this package"
    assert release.problems("v1.2.0", AT_GITHUB, project) == []
    assert release.problems("v1.2.0", {}, project) == [], "also where no workflow runs"
    assert release.notes("v1.2.0", project) == "### Added\n\n- Much."


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            '"1.2.0"',
            '"1.3.0"',
            "the tag is v1.2.0, and the version in pyproject.toml is 1.3.0",
        ),
        (
            "[]",
            f'["{release.NO_UPLOAD}"]',
            "has the classifier 'Private :: Do Not Upload': remove it",
        ),
        ("authors", "others", "has no authors: name the publisher"),
        ("Repository", "Homepage", "has no urls.Repository"),
        (
            "/Shop/",
            "/Fork/",
            "is https://github.com/Fork/snapshots, and this is https://github.com/shop/snapshots",
        ),
    ],
)
def test_a_tag_too_early_says_what_is_missing(
    project: Path, old: str, new: str, problem: str
) -> None:
    (project / "pyproject.toml").write_text(READY.replace(old, new))
    found = release.problems("v1.2.0", AT_GITHUB, project)
    assert next(each for each in found if "tools/version.py" not in each).endswith(
        problem
    )
    assert (len(found) > 1) is ("1.3.0" in new), (
        "the other places have another version then"
    )


def test_a_version_without_changes_is_not_released(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "CHANGELOG.md").write_text(CHANGES.replace("[1.2.0]", "[1.2.0-rc]"))
    (found,) = release.problems("v1.2.0", {}, project)
    assert (
        found
        == "CHANGELOG.md has no section for 1.2.0: `make release-prepare` gives [Unreleased] "
        "its number and date"
    )
    for name in AT_GITHUB:
        monkeypatch.delenv(name, raising=False)
    assert release.main(["v0.0.0"]) == 1
    told = capsys.readouterr()
    assert "release: the tag is v0.0.0" in told.err
    assert told.out == "", "problems are no notes"


def test_a_version_that_has_left_no_states_or_is_not_said_everywhere_is_not_released(
    project: Path,
) -> None:
    (project / release.STATES / "1.2.0" / "formats.json").unlink()
    (project / "README.md").write_text("\nVersion 1.1.0, published.\n")
    places, states = release.problems("v1.2.0", {}, project)
    assert places == "README.md says 1.1.0: run `python tools/version.py`"
    assert states.endswith(
        "1.2.0 is missing: `make release-prepare` records it, last of all"
    )


def test_the_changelogs_newest_part_gets_its_number_and_date_once(
    project: Path,
) -> None:
    file = project / "CHANGELOG.md"
    file.write_text(
        "# Changelog\n\n## [Unreleased]\n\n- Much.\n\n## [1.1.0] - 2026-11-01\n"
    )
    for day in (1, 2):
        release.enter_in_changelog(project, date(2026, 12, day))
    wanted = "## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n\n- Much.\n\n## [1.1.0]"
    assert wanted in file.read_text()
    assert release.notes("v1.2.0", project) == "- Much."


def test_all_that_is_missing_needs_a_publisher_or_is_made_at_the_release() -> None:
    found = release.problems(f"v{version.current()}", {})
    missing = (
        "classifier",
        "authors",
        "urls.Repository",
        "make release-prepare",
        "CHANGELOG.md",
    )
    assert [each for each in found if not any(word in each for word in missing)] == []


# The workflows


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_workflow_runs_what_is_in_the_project_and_actions_that_cannot_change(
    file: Path,
) -> None:
    text = file.read_text()
    used = re.findall(r"uses: (\S+)(.*)", text)
    targets = set(re.findall(r"(?:run: |&& )make ([a-z-]+)", text))
    assert used
    for action, comment in used:
        pinned = re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", action + comment)
        assert action.startswith("./") or pinned, action
    assert targets
    assert targets <= set(
        re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    )
    for name in re.findall(r"-m (tools|bench)\.(\w+)|python (tools)/(\w+)\.py", text):
        assert (PROJECT / f"{'/'.join(filter(None, name))}.py").is_file()


def test_only_the_steps_that_need_it_may_write_or_prove_who_they_are() -> None:
    jobs: dict[str, Any] = {}
    for file in FILES:
        workflow = yaml.safe_load(file.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        jobs |= workflow["jobs"]
    rights = {
        name: job["permissions"] for name, job in jobs.items() if "permissions" in job
    }
    assert rights == {
        "release": {"attestations": "write", "contents": "write", "id-token": "write"},
        "pypi": {"id-token": "write"},
    }
    assert jobs["pypi"]["environment"] == "pypi"
    assert set(jobs["release"]["needs"]) == {"test", "packages", "plugin"}, (
        "nothing is released that the tests refuse"
    )
    assert "secrets." not in "".join(file.read_text() for file in FILES), (
        "no stored password"
    )
