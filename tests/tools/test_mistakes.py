"""The table of mistakes: each can be made, so that `make mistakes` says whether a test notices it."""

from collections import Counter

from bench.mistakes import (
    MISTAKES,
    PROJECT,
    TESTS,
    changed,
    exit_code,
    place_of,
    with_mistake,
)


def test_no_mistake_is_forgotten_when_its_code_is_rewritten() -> None:
    """Its text is there exactly once, in a function, and the mistake changes what that does."""
    lost = []
    for room, text, instead in MISTAKES:
        place = place_of(room, text, PROJECT)
        if place is None:
            lost.append(
                f"{room}: {text!r} is not there once: write the row for today's code"
            )
        elif not changed(place[1].string, with_mistake(place[1], instead)):
            lost.append(f"{room}: {text!r} -> {instead!r} changes no function")
    assert lost == [], "\n" + "\n".join(lost)


def test_a_mistake_that_cannot_be_made_fails_the_run() -> None:
    assert exit_code(Counter(caught=3, missed=1)) == 0
    assert exit_code(Counter({"caught": 3, "not found": 1})) == 1


def test_the_mistakes_of_each_room_have_tests() -> None:
    assert {room for room, _, _ in MISTAKES} <= TESTS.keys()
    missing = [
        each
        for tests in TESTS.values()
        for each in tests
        if not (PROJECT / "tests" / each).exists()
    ]
    assert missing == []
