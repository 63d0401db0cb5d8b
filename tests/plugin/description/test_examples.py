"""The schema's examples: one in each language for each resource and function, made of a program in YAML that is previewed."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from pulumi_snapshots.plugin.description.examples import LANGUAGES, example
from pulumi_snapshots.plugin.description.schema import schema
from tests.support import language_programs
from tools import sdks
from tools.engine import Closed

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = schema()
EACH = {token.rpartition(":")[2]: made for part in ("resources", "functions") for token, made in SCHEMA[part].items()}
FENCE = re.compile(r"^```(\w+)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", EACH)
def test_each_resource_and_function_has_an_example_in_each_language(name: str) -> None:
    description = EACH[name]["description"]
    assert description.index("{{% examples %}}") > 0
    blocks = dict(FENCE.findall(description.partition("## Import")[0]))
    assert list(blocks) == list(LANGUAGES)
    needed = EACH[name].get("requiredInputs") or EACH[name].get("inputs", {}).get("required", [])
    for language, text in blocks.items():
        squeezed = text.replace("_", "").lower()
        assert not [each for each in (name, *needed) if each.lower() not in squeezed], (language, text)
        assert " in: " not in text


def test_an_example_reads_as_its_language_is_written() -> None:
    """What no compiler here reads."""
    for language, lines in {
        "csharp": ("Keep = new KeepArgs { Daily = 7, Monthly = 12 },", '["uri"] = offsite.Uri,'),
        "java": (".keep(KeepArgs.builder().daily(7).monthly(12).build())", 'ctx.export("uri", offsite.uri());'),
    }.items():
        assert set(lines) <= {line.strip() for line in example(language, "Archive").splitlines()}
    assert "DatabaseId = latest.Apply(found => found.Snapshot.DatabaseId)," in example("csharp", "getDownloadUrl")


def test_the_programs_of_all_examples_are_compiled(tmp_path: Path) -> None:
    try:
        sdks.node_modules(os.environ)
    except Closed as reason:
        pytest.skip(f"no example is compiled: {reason}")
    shutil.copytree(language_programs.EXAMPLES / "typescript", tmp_path / "typescript")
    (tmp_path / "typescript" / "index.ts").write_text(example("typescript"))
    (tmp_path / "go").mkdir()
    (tmp_path / "go" / "main.go").write_text(example("go"))
    language_programs.typescript(tmp_path / "typescript")
    language_programs.go_package(tmp_path / "go", language_programs.EXAMPLES / "go")
    language_programs.python_program(example("python"))
