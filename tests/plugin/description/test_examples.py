"""The schema's examples: one in each language for each resource and function, which say what the previewed YAML says."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pulumi_snapshots.plugin.description.identity import Identity
from pulumi_snapshots.plugin.description.schema import FENCE, LANGUAGES, example, schema
from tests.support import language_programs
from tests.support.machine import had
from tools import languages, sdks

SCHEMA = schema()
EACH = {
    token.rpartition(":")[2]: made
    for part in ("resources", "functions")
    for token, made in SCHEMA[part].items()
}


def said(part: Any) -> Iterator[str]:
    """The names and values in a part of a program in YAML."""
    if isinstance(part, dict):
        for name, value in part.items():
            yield name
            yield from said(value)
    elif isinstance(part, list):
        for each in part:
            yield from said(each)
    elif not str(part).startswith("${"):
        yield str(part)


@pytest.mark.parametrize("name", EACH)
def test_each_resource_and_function_has_an_example_in_each_language(name: str) -> None:
    description = EACH[name]["description"]
    assert description.index("{{% examples %}}") > 0
    blocks = dict(FENCE.findall(description.partition("## Import")[0]))
    assert list(blocks) == list(LANGUAGES)
    needed = EACH[name].get("requiredInputs") or EACH[name].get("inputs", {}).get(
        "required", []
    )
    program = yaml.safe_load(blocks["yaml"])
    values = [each["properties"] for each in program.get("resources", {}).values()]
    values += [
        each["fn::invoke"]["arguments"]
        for each in program.get("variables", {}).values()
    ]
    comments = re.findall("# (.*)", blocks["yaml"])
    told = [
        name,
        *needed,
        *comments,
        *said([*values, program["outputs"], *program.get("config", [])]),
    ]
    for language, text in blocks.items():
        squeezed = text.replace("_", "").lower()
        assert not [each for each in told if each.lower() not in squeezed], (
            language,
            text,
        )
        assert " in: " not in text
        assert (
            language == "yaml"
            or Identity().imports()[language].removeprefix("import ") in text
        )


def test_the_tour_in_other_languages_is_that_of_the_yaml() -> None:
    assert languages.FILE.read_text() == languages.page(), "`make generated` writes it"


def test_the_programs_of_all_examples_are_compiled() -> None:
    """Those in Go at night: `engine/test_engine_languages.py`."""
    had("npm", lambda: sdks.node_modules(os.environ))
    language_programs.all_typescript()
    language_programs.python_program(example("python"))
