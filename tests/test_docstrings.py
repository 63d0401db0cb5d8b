"""Tests of docstrings: what a function takes and returns stands where an editor shows it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "pulumi_snapshots"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Room:
    """A module of the package.

    Attributes:
        path: Its path below the package.
        tree: Its syntax tree.
        words: All names in it.
    """

    path: str
    tree: ast.Module
    words: frozenset[str]


def rooms() -> list[Room]:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        source = file.read_text()
        words = frozenset(re.findall(r"\w+", source))
        found.append(Room(str(file.relative_to(PACKAGE)), ast.parse(source), words))
    return found


def functions_of(room: Room, others: list[Room]) -> Iterator[tuple[str, Function, str]]:
    """Yield a module's public functions, each with its path and the name of its class.

    A function that only its own module uses, a click command, and a method that gRPC names are left
    out.
    """
    used_outside = frozenset[str]().union(
        *(each.words for each in others if each is not room)
    )
    for node in room.tree.body:
        if isinstance(node, Function) and node.name in used_outside:
            yield f"{room.path}: {node.name}", node, ""
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, Function) and not method.name[0].isupper():
                    yield f"{room.path}: {node.name}.{method.name}", method, node.name


def arguments_of(function: Function) -> list[str]:
    every = function.args
    names = [each.arg for each in every.posonlyargs + every.args + every.kwonlyargs]
    return [
        name
        for name in names
        if name not in {"self", "cls"} and not name.startswith("_")
    ]


def lacks(function: Function) -> bool:
    """Tell whether a docstring lacks the arguments or the result of its function.

    A summary that begins with "Return" or "Tell whether" says what the result is.
    """
    text = ast.get_docstring(function) or ""
    lacks_arguments = bool(arguments_of(function)) and "Args:" not in text
    returns = ast.unparse(function.returns) if function.returns is not None else "None"
    says_result = (
        re.search("Returns:|Yields:|^Return |^Tell whether ", text) is not None
    )
    return lacks_arguments or (returns not in {"None", "NoReturn"} and not says_result)


def is_exempt(function: Function) -> bool:
    decorators = " ".join(ast.unparse(each) for each in function.decorator_list)
    return (
        function.name.startswith("_")
        or "property" in decorators
        or "command(" in decorators
    )


def bases_by_class(every: list[Room]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for room in every:
        for node in ast.walk(room.tree):
            if isinstance(node, ast.ClassDef):
                names = [
                    ast.unparse(base).split("[")[0].split(".")[-1]
                    for base in node.bases
                ]
                found[node.name] = names
    return found


def test_a_public_function_says_what_it_takes_and_returns() -> None:
    every = rooms()
    bases = bases_by_class(every)
    found = [each for room in every for each in functions_of(room, every)]
    complete = {
        path.split(": ")[1] for path, function, _ in found if not lacks(function)
    }

    def is_described_above(owner: str, name: str) -> bool:
        above = bases.get(owner, [])
        return any(
            f"{base}.{name}" in complete or is_described_above(base, name)
            for base in above
        )

    lacking = [
        path
        for path, function, owner in found
        if not is_exempt(function)
        and lacks(function)
        and not is_described_above(owner, function.name)
    ]
    assert len(found) > 500
    assert not lacking, "\n" + "\n".join(lacking)


ANSWERS = {
    "what a delete does": "run/calls.py",
    "what is kept of a restore": "restore/record.py",
    "where a 202 is handled": "service/client.py",
    "where the url is pinned": "properties/checks.py",
    "who retries a 429": "service/errors.py",
}
"""Where `grep -rni` finds the answer to a newcomer's question, by the words of the question."""


def test_one_search_answers_a_newcomers_question() -> None:
    for question, file in ANSWERS.items():
        found = [
            str(each.relative_to(PACKAGE))
            for each in sorted(PACKAGE.rglob("*.py"))
            if question in each.read_text().lower()
        ]
        assert found == [file], question
