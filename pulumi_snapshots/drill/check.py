"""One question to a restored database and what its answer must be.

Programs load this module, so it loads no HTTP stack.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Self

from pulumi_snapshots.drill.tables import (
    SHOWN_TABLES,
    RowsBefore,
    TableRows,
    Tables,
    problems_of,
    totals_of,
)
from pulumi_snapshots.errors import AnyMessage, Message
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Record, Values, declare
from pulumi_snapshots.properties.checks import SHOWN_LIMIT, UNKNOWN, Unfit

if TYPE_CHECKING:
    from pulumi_snapshots.databases.connection import Scalar
    from pulumi_snapshots.databases.tables import TableCount

MOST_CHECKS = 100  # checks of one drill: each result stands in the state
EXPECTATIONS = ("equals", "at_least", "at_most", "matches")


def filled(given: object) -> str:
    """Read a text that must not be empty.

    Args:
        given: What a program gave.

    Returns:
        The text, as it was given.

    Raises:
        Unfit: It is no text, or nothing but blanks.
    """
    if not checks.text(given).strip():
        raise Unfit("must not be empty")
    return str(given)


def _value(given: object) -> Any:
    is_finite = isinstance(given, int | float) and math.isfinite(given)
    if is_finite or isinstance(given, str):
        return given
    raise Unfit("must be a text, a number, or true or false")


def _limit(given: object) -> float:
    if checks.is_number(given) and math.isfinite(given):
        return given
    raise Unfit("must be a number")


def _pattern(given: object) -> str:
    try:
        re.compile(checks.text(given))
    except re.error as error:
        raise Unfit(f"must be a regular expression ({error})") from None
    return str(given)


def _tables(given: object) -> Tables:
    """Read how tables are counted; raises `Unfit`."""
    if not isinstance(given, Mapping):
        raise Unfit("must be an object")
    misfit = _misfit(given, Tables)
    if misfit is not None:
        raise Unfit(Message("is an object{misfit}", misfit=misfit))
    return Tables(**_read(given, Tables))


class Check(Record, sparse=True):
    """One question to the restored database, and what its answer must be: all of what is given.

    The answer is one value. A missing value, such as NULL or no row, fails every check.
    `Check.tables()` counts the rows of each table instead.
    """

    query: str | None = declare(
        "The query: SQL whose result is one value; for MongoDB a command as JSON; for Redis a "
        "command line. Required, unless `tables` is given.",
        default=None,
        read=filled,
    )
    _: KW_ONLY
    name: str | None = declare(
        "The name of the check in results and errors; its query unless given.",
        default=None,
    )
    equals: Any = declare(
        "The required answer: a number, a text, true or false.",
        default=None,
        read=_value,
    )
    at_least: float | None = declare(
        "The smallest answer that passes, a number.", default=None, read=_limit
    )
    at_most: float | None = declare(
        "The largest answer that passes, a number.", default=None, read=_limit
    )
    matches: str | None = declare(
        "A regular expression that the answer, as text, must contain; `^` and `$` stand for its "
        "beginning and its end.",
        default=None,
        read=_pattern,
    )
    tables_: Tables | None = declare(
        "In place of a query: how many rows each table must have.",
        default=None,
        read=_tables,
    )

    @classmethod
    def tables(
        cls,
        *,
        at_least: float = Tables.at_least,
        except_: Sequence[str] = (),
        name: str | None = None,
    ) -> Self:
        """Make the check that counts the rows of each table, without a query.

        Args:
            at_least: The least share of its rows of before, from 0 to 1, that each table must have.
                Before is the last good drill; at the first drill `source_connection`, if that is
                given.
            except_: Tables to leave out, by the names that the results show; `*` stands for any
                characters.
            name: How results and errors name the check; `tables` unless given.

        Returns:
            The check.
        """
        return cls(name=name, tables_=Tables(at_least, list(except_) or None))

    @property
    def title(self) -> str:
        """How results and errors name the check."""
        return self.name or " ".join((self.query or "tables").split())

    @property
    def expected(self) -> str:
        """The required answer, in words."""
        if self.tables_ is not None:
            return self.tables_.expected(None)
        is_text = isinstance(self.equals, str)
        exactly = repr(self.equals) if is_text else as_text(self.equals)
        expectations = {
            exactly: self.equals,
            f"at least {as_text(self.at_least)}": self.at_least,
            f"at most {as_text(self.at_most)}": self.at_most,
            f"a match of {self.matches!r}": self.matches,
        }
        return " and ".join(
            words for words, given in expectations.items() if given is not None
        )

    def judge(self, found: Scalar) -> CheckResult:
        """Compare an answer with what it must be.

        Args:
            found: The answer; None, such as NULL or no row, never passes.

        Returns:
            The result, with the first `SHOWN_LIMIT` characters of the answer.
        """
        if found is None:
            return CheckResult(self.title, passed=False, expected=self.expected)
        text = as_text(found)
        shown = text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}…"
        return CheckResult(self.title, self._is_met(found, text), self.expected, shown)

    def judge_tables(
        self, tables: Tables, counts: Sequence[TableCount], before: RowsBefore | None
    ) -> CheckResult:
        """Compare the rows of each table with those of before, if there are any.

        Args:
            tables: How the tables must compare.
            counts: The rows of the restored database.
            before: The rows of the last good drill or of the source; None if neither is known.

        Returns:
            The result, which names up to three tables that did not pass.
        """
        compared = tables.compare(counts, before)
        problems = problems_of(compared)
        found = totals_of(compared)
        if problems:
            unnamed = len(problems) - SHOWN_TABLES
            rest = [f"{unnamed:,} more"] if unnamed > 0 else []
            found = "; ".join([*problems[:SHOWN_TABLES], *rest])
        return CheckResult(
            self.title,
            passed=not problems,
            expected=tables.expected(before),
            found=found,
            tables=compared,
        )

    def not_run(self, reason: str) -> CheckResult:
        """Return the result of a check without an answer.

        Args:
            reason: Why there was no answer, in the database's words.

        Returns:
            The result, which has not passed.
        """
        return CheckResult(
            self.title, passed=False, expected=self.expected, reason=reason
        )

    def _is_met(self, found: Any, text: str) -> bool:
        """Whether an answer, and its text, are as expected."""
        number = _number(found)
        if self.equals is not None and not _same(self.equals, found):
            return False
        if self.at_least is not None and (number is None or number < self.at_least):
            return False
        if self.at_most is not None and (number is None or number > self.at_most):
            return False
        return self.matches is None or re.search(self.matches, text) is not None


class CheckResult(Record, sparse=True):
    """What one check has found."""

    check: str = declare("The check's name, or its query.")
    passed: bool = declare("Whether the check passed.")
    expected: str = declare("The required answer.")
    found: str | None = declare(
        "The answer as text, its first 100 characters; absent if there was none.",
        default=None,
    )
    reason: str | None = declare(
        "Why there was no answer, in the database's words.", default=None
    )
    tables: list[TableRows] | None = declare(
        "The rows of each table, of a check that counts them.", default=None
    )

    @property
    def summary(self) -> str:
        """What the check expected and found, for an error."""
        ended = f"found {self.found or 'nothing'}"
        if self.tables is not None:
            ended = f"found: {self.found}"
        if self.reason is not None:
            ended = f"could not be run: {self.reason}"
        return f"{self.check!r} expected {self.expected} and {ended}"


def read_checks(given: object) -> list[Check]:
    """Read the checks that a program gave, without those that a preview does not know yet.

    Args:
        given: A list of `Check` or of mappings with the same properties.

    Returns:
        The checks, in the same order.

    Raises:
        Unfit: It is no list of checks, or has more than `MOST_CHECKS`, or one of them asks or
            expects nothing.
    """
    if not isinstance(given, list | tuple):
        raise Unfit("must be a list of checks")
    if len(given) > MOST_CHECKS:
        raise Unfit(f"must be {MOST_CHECKS} checks at most, not {len(given)}")
    return [
        _read_check(check, f"check {number}")
        for number, check in enumerate(given, 1)
        if check is not UNKNOWN
    ]


def _read_check(given: object, which: str) -> Check:
    """Read one check that a program gave; `which` names the check in an `Unfit`."""
    if isinstance(given, Check):
        given = given.to_outputs()
    if not isinstance(given, Mapping):
        form = f"an object with {{query}} and {_listed(EXPECTATIONS)}"
        raise Unfit(
            Message(f"has {{which}}, which must be a Check, or {form}", which=which)
        )
    misfit = _misfit(given, Check) or _contradiction(given)
    if misfit is not None:
        raise Unfit(Message("has {which}{misfit}", which=which, misfit=misfit))
    return Check(**_read(given, Check))


def _read(given: Values, record: type[Record]) -> dict[str, Any]:
    """Read the known properties of an object."""
    properties = record.properties()
    return {
        name: properties[name].read(value)
        for name, value in given.items()
        if value not in (None, UNKNOWN)
    }


def _misfit(given: Mapping[str, object], record: type[Record]) -> AnyMessage | None:
    """Say what is wrong with the properties of an object, to follow its name.

    None if nothing is.
    """
    properties = record.properties()
    for name in given:
        if name not in properties:
            template = f" with {{it}}, which is none of {_listed(properties)}"
            return Message(template, it=name)
    for name, each in properties.items():
        problem = each.problem(given.get(name))
        if problem is not None:
            return Message(f", whose {{{name}}} {{why}}", why=problem.reason)
    return None


def _contradiction(given: Mapping[str, object]) -> AnyMessage | None:
    """Say what a check lacks, or must not have; None if it has either a query or tables."""
    expectations = [name for name in EXPECTATIONS if given.get(name) is not None]
    has_query = given.get("query") is not None
    if given.get("tables_") is not None:
        is_alone = not has_query and not expectations
        return None if is_alone else Message(", whose {tables_} must stand alone")
    if not has_query:
        return Message(", whose {query} is required: what the database is asked")
    if not expectations:
        return Message(f", which expects nothing: give one of {_listed(EXPECTATIONS)}")
    return None


def _listed(names: Iterable[str]) -> str:
    """List names of properties, which each edge spells in its own way."""
    return ", ".join(f"{{{name}}}" for name in names)


def as_text(value: Any) -> str:
    """Write an answer, or what it must be, as people read it.

    Whole numbers without a point, as every engine has them.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _number(value: Any) -> Decimal | int | float | None:
    """Read a value as a number; None if it is not a number. Some engines have only texts."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    try:
        number = Decimal(value.strip())
    except (InvalidOperation, AttributeError):
        return None
    return number if number.is_finite() else None


def _same(expected: Any, found: Any) -> bool:
    """Whether an answer is what was expected, as numbers if both are, else as texts."""
    if isinstance(expected, str) and isinstance(found, str):
        return expected == found
    if isinstance(expected, bool) and isinstance(found, int):
        return expected == found  # MySQL's truth is 1.
    expected_number = _number(expected)
    found_number = _number(found)
    if expected_number is None or found_number is None:
        return as_text(expected) == as_text(found)
    return expected_number == found_number
