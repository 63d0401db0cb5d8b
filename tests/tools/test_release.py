"""What a tag releases, and the workflows that do it; no workflow runs here."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pulumi_snapshots.plugin.description.identity import NO_UPLOAD
from tools import release

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
AT_GITHUB = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "shop/snapshots"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(READY)
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    return tmp_path


def test_a_release_that_is_ready_has_its_notes(project: Path) -> None:
    assert release.NO_UPLOAD == NO_UPLOAD, "the tool runs without this package"
    assert release.problems("v1.2.0", AT_GITHUB, project) == []
    assert release.problems("v1.2.0", {}, project) == [], "also where no workflow runs"
    assert release.notes("v1.2.0", project) == "### Added\n\n- Much."


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"1.2.0"', '"1.3.0"', "the tag is v1.2.0, and the version in pyproject.toml is 1.3.0"),
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
    (found,) = release.problems("v1.2.0", AT_GITHUB, project)
    assert found.endswith(problem)


def test_a_version_without_changes_is_not_released(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "CHANGELOG.md").write_text(CHANGES.replace("[1.2.0]", "[1.2.0-rc]"))
    (found,) = release.problems("v1.2.0", {}, project)
    assert found == "CHANGELOG.md has no section for 1.2.0: give [Unreleased] its number and date"
    for name in AT_GITHUB:
        monkeypatch.delenv(name, raising=False)
    assert release.main(["v0.0.0"]) == 1
    told = capsys.readouterr()
    assert "release: the tag is v0.0.0" in told.err
    assert told.out == "", "problems are no notes"


# The workflows


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_workflow_runs_what_is_in_the_project_and_actions_that_cannot_change(file: Path) -> None:
    text = file.read_text()
    used, targets = (
        re.findall(r"uses: (\S+)(.*)", text),
        set(re.findall(r"(?:run: |&& )make ([a-z-]+)", text)),
    )
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
    rights = {name: job["permissions"] for name, job in jobs.items() if "permissions" in job}
    assert rights == {
        "release": {"attestations": "write", "contents": "write", "id-token": "write"},
        "pypi": {"id-token": "write"},
    }
    assert jobs["pypi"]["environment"] == "pypi"
    assert set(jobs["release"]["needs"]) == {"test", "packages", "plugin"}, (
        "nothing is released that the tests refuse"
    )
    assert "secrets." not in "".join(file.read_text() for file in FILES), "no stored password"
