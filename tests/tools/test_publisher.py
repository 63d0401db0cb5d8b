"""What follows from the publisher in pyproject.toml, written by one command."""

import re
import shutil
from pathlib import Path

import pytest

from pulumi_snapshots.plugin.description import identity
from tools import publisher

PROJECT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[project]
classifiers = [{classifiers}]
urls = {{ {urls} }}
"""
REPOSITORY = 'Repository = "https://github.com/shop/pulumi-squarecloud/"'
WAITING = re.compile(
    r"/path/to/clone\[|[Oo]nce (it|the package) is published|once published|Version \S+ not published"
)
"""What texts say as long as there is nothing to install but a clone."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's files that are written, before anything is published."""
    for files in {name for name, _, _ in publisher.PUBLISHED} | set(publisher.GO):
        for file in PROJECT.glob(files):
            there = tmp_path / file.relative_to(PROJECT)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, there)
    return tmp_path


def written(project: Path, classifiers: str = "", urls: str = "") -> list[str]:
    text = PYPROJECT.format(classifiers=classifiers, urls=urls)
    (project / "pyproject.toml").write_text(text)
    return publisher.write(project)


def waiting(project: Path) -> list[str]:
    pages = [
        project / "README.md",
        *project.glob("docs/*.md"),
        *project.glob("docs/howto/*.md"),
    ]
    made = "installation-configuration.md"  # of docs/plugin.md
    return [
        page.name
        for page in pages
        if page.name != made and WAITING.search(page.read_text())
    ]


def test_without_the_classifier_everything_installs_from_an_index(copy: Path) -> None:
    errors = copy / "pulumi_snapshots" / "errors" / "__init__.py"
    changed = written(copy)
    assert "PUBLISHED = True" in errors.read_text()
    assert waiting(copy) == []
    for file in copy.rglob("*.*"):
        assert "/path/to/clone[" not in file.read_text(), file.name
    for page in ("README.md", "docs/install.md", "docs/plugin.md"):
        assert "pip install 'pulumi-snapshots[cli]'" in (copy / page).read_text()
    assert written(copy) == [], f"a second time changes nothing: {changed}"


def test_with_a_repository_go_imports_the_module_there(copy: Path) -> None:
    texts = {
        file: file.read_text() for each in publisher.GO for file in copy.glob(each)
    }
    with_classifier = f'"{publisher.NO_UPLOAD}"'
    assert written(copy, with_classifier) == []
    written(copy, with_classifier, REPOSITORY)
    for file, text in texts.items():
        old = publisher.GO_WITHOUT_REPOSITORY
        assert file.read_text() == text.replace(
            old, "github.com/shop/pulumi-squarecloud/sdk/go"
        )
    assert identity.GO_WITHOUT_REPOSITORY == publisher.GO_WITHOUT_REPOSITORY
    assert identity.NO_UPLOAD == publisher.NO_UPLOAD
