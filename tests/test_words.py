"""Words that we do not use, wherever a user reads: docs, README, the changelog's newest part, messages, docstrings, comments."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
PAGES = [
    *(PROJECT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")),
    PROJECT / "tests" / "README.md",
    *sorted((PROJECT / "docs").rglob("*.md")),
    *sorted((PROJECT / "bench").glob("*.md")),
    *sorted((PROJECT / "examples").glob("*/README.md")),
    *sorted((PROJECT / "squarecloud_emulator" / "control" / "static").iterdir()),
    PROJECT / "Makefile",
    PROJECT / "pyproject.toml",
]
PROGRAMS = [
    path
    for folder in ("pulumi_snapshots", "squarecloud_emulator", "examples", "tools")
    for path in (PROJECT / folder).rglob("*.py")
]
TESTS = sorted((PROJECT / "tests").rglob("test_*.py"))


class Word(NamedTuple):
    """A pattern of what we do not write, and what we write instead."""

    pattern: str
    instead: str


WORDS = [
    Word(
        r"\b(?:keeps|kept) (?:(?:a|each|every|the) snapshot|each|it) for (?:longer than )?30 days",
        "for at most 30 days: the account's plan may end",
    ),
    Word(
        r"\b(?:a|one|no|each|every|first|next|last|the|this|that|another|own|account) look\b(?!-)",
        "poll, listing request",
    ),
    Word(
        r"\b(?:a|the|few|many|more|last|both|all|two|three|further) looks\b",
        "polls, listing requests",
    ),
    Word(
        r"\blooks? (?:fails?|failed|succeeds?|is|are|was|were|has|have)\b",
        "poll, listing request",
    ),
    Word(r"\bon doubt\b", "when in doubt"),
    Word(r"\banew\b", "again"),
    Word(r"\bonce more\b", "again"),
    Word(r"\b(?:go|goes|gone|going) on\b", "resume, keep waiting, continue, happen"),
    Word(r"\b(?:whoever|whomever)\b", "anyone who, no matter who"),
    Word(r"\bnobody\b", "no request is sent; no caller, no other client"),
    Word(
        r"\b(?:for|to|of|by|from|beside|than|about) who\b",
        "callers, users, the next run",
    ),
    Word(
        r"(?:^|[.;:] |\| )Where [^.,?|]+,",
        "If …, or a noun: a sentence does not begin with Where",
    ),
    Word(
        r"\b(?:None|null|nothing|empty|absent|only|also|even|unless|except) where\b",
        "if",
    ),
    Word(
        r"\bwhere (?:there (?:is|was|are|were)|not|none|nothing|known|needed|possible)\b",
        "if, when",
    ),
    Word(r"\bno difference\b", "does not replace the snapshot"),
    Word(
        r"\bthe same holds\b|\bholds? (?:good|true|as well)\b|\b(?:rule|setting) holds\b",
        "also applies, is true",
    ),
    Word(r"\bwhat (?:came|comes|became|becomes) of\b", "the result"),
    Word(r"\bpays? for (?:one more|another|a second)\b", "uses quota"),
    Word(r"\ballowances?\b|\btoday's snapshots\b", "quota"),
    Word(
        r"\b(?:its|their|whose|the) turn\b|\bengine's places?\b|\b\d+ before it\b",
        "slot, queued, ahead in the queue",
    ),
    Word(r"\bthe service fails\b", "the service is returning errors"),
    Word(r"\bgates?\b", "rate limiter"),
    Word(
        r"\btells? (?:what|why|how|of|whether|who|which|when|where)\b",
        "says, explains; see X for",
    ),
    Word(r"(?:\)|\b[A-Z]\w+|\bpage|\bdocs) has what\b", "explains; see X for"),
    Word(r"\b(?:is|are|was|were|be|been) told\b(?! apart)", "shown, reported"),
    Word(r"\bcached apart\b", "cached separately"),
    Word(r"\bto be had\b", "missing, not available"),
    Word(r"\btaken for ours\b", "matched to this request"),
    Word(r"\bhands? out\b", "gives, exports"),
    # One term for one thing.
    Word(r"\ballowances?\b|\banother of today's\b", "quota"),
    Word(
        r"\bsnapshots? (?:is |was |are )?(?:put|puts|putting) back\b"
        r"|\b(?:put|puts|putting) (?:a|the|this|its) (?:snapshot|database|data) back\b",
        "restore",
    ),
    Word(r"\bwhat is to stay\b", "a resource that should not change"),
    Word(
        r"\b(?:drop|drops|dropped|dropping) (?:a|the|no|any|its) (?:snapshot|resource)s?\b",
        "forget",
    ),
    Word(r"\bsnapshot lists?\b|\blists? of (?:the )?snapshots\b", "listing"),
    Word(r"\b(?:re-poll|recheck|re-check)\w*\b|\bcheck(?:s|ed)? the listing\b", "poll"),
    Word(r"\bnext check\b|\blast check failed\b", "next poll, last poll failed"),
    Word(r"\bcan be had\b", "can be taken, is available"),
    Word(r"\bone that is (?:at most|younger)\b", "a noun: the snapshot that …"),
    Word(
        r"\bA change of any\b|\bAnother one (?:takes|restores|is)\b",
        "a noun: another snapshot",
    ),
    Word(
        r"(?:^|[.:;] )[Ww]ho (?:may|can|knows|must|cannot)\b",
        "anyone who, callers",
    ),
    Word(
        r"\b(?:brings?|brought) (?:it|them|a snapshot|the snapshot) back\b",
        "restore, add again",
    ),
    Word(r"\bmakes? (?:it|this|that) good\b|\bhears? of every\b", "catches up; sees"),
    Word(r"\bbut for\b", "except"),
    Word(r"\b[Dd]ata (?:are|were)\b", "data is"),
    Word(r"\bcool-?down (?:period|time)\b|\bcooling\b", "cooldown"),
    Word(r"\b(?:backup|bucket) copy\b|\boff-?site copy\b", "archive"),
    Word(r"\b(?:take|takes|took) (?:the|a) request\b", "request a snapshot, send"),
    Word(r"\bwhat (?:there )?(?:is|was) there\b|\bwhat there (?:is|was)\b", "a noun"),
    Word(r"\bwhichever that is\b|\bif need be\b", "always; if necessary"),
    Word(r"\bnever came\b(?! back)", "was never taken"),
    Word(r"\bcertain answer\b", "complete answer"),
    Word(r"\bolder checkpoint\b", "older state"),
]


class Found(NamedTuple):
    """A line of a file, with where it is."""

    path: str
    line: int
    text: str


def of_page(path: Path, text: str) -> Iterator[Found]:
    name = str(path.relative_to(PROJECT))
    # Joined lines of a paragraph show a word that a line break splits; a table's row is a line of its own.
    for start, paragraph in paragraphs(text):
        yield Found(name, start, paragraph)


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """The paragraphs of a text, each as one line, with the number of its first line."""
    first = 1
    lines = list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if lines and (not line.strip() or re.match(r"\s*(?:[|#]|- |\d+\. )", line)):
            yield first, " ".join(lines)
            lines = []
        if line.strip():
            first = first if lines else number
            lines.append(line.strip().lstrip("> "))


def of_program(path: Path) -> Iterator[Found]:
    """Strings, docstrings and comments."""
    name = str(path.relative_to(PROJECT))
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value.strip()
        ):
            for start, text in paragraphs(node.value):
                yield Found(name, node.lineno + start - 1, text)
    # A # in a string begins no comment, but what follows it is read too. To find that out takes as long as all the rest.
    for number, line in enumerate(source.splitlines(), 1):
        _, mark, comment = line.partition("#")
        if mark:
            yield Found(name, number, comment.lstrip("# "))


def of_tests(path: Path) -> Iterator[Found]:
    """Test names, as sentences."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if found := re.match(r"\s*(?:async )?def (test_\w+)", line):
            yield Found(
                str(path.relative_to(PROJECT)), number, found[1].replace("_", " ")
            )


def unreleased() -> Iterator[Found]:
    path = PROJECT / "CHANGELOG.md"
    before, after = path.read_text().split("## [Unreleased]\n", 1)
    for found in of_page(path, after.partition("\n## [")[0]):
        yield found._replace(line=found.line + before.count("\n") + 1)


def everything() -> Iterator[Found]:
    for page in PAGES:
        yield from of_page(page, page.read_text())
    yield from unreleased()
    for program in PROGRAMS:
        yield from of_program(program)
    for test in TESTS:
        yield from of_tests(test)


def told(found: Found) -> Iterator[str]:
    """One line for each word in a text that we do not use."""
    for word in WORDS:
        for match in re.finditer(word.pattern, found.text):
            yield f"{found.path}:{found.line}: {match.group()!r}: write instead: {word.instead}"


def test_a_reader_does_not_stumble_over_our_private_words() -> None:
    complaints = [complaint for found in everything() for complaint in told(found)]
    assert complaints == [], "\n" + "\n".join(complaints)


def test_a_word_is_found_with_what_to_write_instead_and_plain_words_are_left_alone() -> (
    None
):
    for text, instead in {
        "The first look is 2 minutes after the answer.": "poll",
        "Where the plan does not allow it, own pages do everything.": "If",
        "status: None where there was none.": "if",
        "Concepts has what is good to know.": "explains",
    }.items():
        assert any(
            instead in complaint for complaint in told(Found("page.md", 1, text))
        ), text
    plain = "It looks up a snapshot. Look at the page. Two runs in turn. A folder that holds the plugin. Where is it?"
    assert list(told(Found("page.md", 1, plain))) == []


MOST_WORDS = 34
"""Words of a sentence. Most have fewer than 20."""


def sentences(text: str) -> Iterator[str]:
    """The sentences of a paragraph or of a table's cells; code and links count as a word."""
    plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "CODE", text))
    for cell in plain.split("|"):
        yield from re.split(r"(?<=[.:;?!])\**\s+", cell)


def too_long(found: Found) -> Iterator[str]:
    for sentence in sentences(found.text):
        words = len(sentence.split())
        if words > MOST_WORDS:
            yield f"{found.path}:{found.line}: {words} words: {sentence}"


def test_no_sentence_is_so_long_that_it_is_read_twice() -> None:
    pages = [page for page in PAGES if page.suffix == ".md"]
    assert pages
    fence = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
    complaints = list[str]()
    for page in pages:
        # A program is not read as sentences; its lines still count.
        prose = fence.sub(lambda code: "\n" * code[0].count("\n"), page.read_text())
        for found in of_page(page, prose):
            complaints += too_long(found)
    assert complaints == [], "\n" + "\n".join(complaints)


def test_a_long_sentence_is_found_and_its_parts_are_not() -> None:
    words = ["word"] * 20
    long = " ".join([*words, "and", *words])
    assert len(list(too_long(Found("page.md", 1, f"Short. {long}. Short.")))) == 1
    parts = f"{' '.join(words)}: {' '.join(words)}; | {' '.join(words)} |"
    assert list(too_long(Found("page.md", 1, parts))) == []


TERMS = (
    "quota", "listing", "page", "poll", "pending", "pinned", "ledger", "claim", "run", "adopt", "forget",
    "cooldown", "block", "provisional id", "archive", "drill", "scratch database",
)  # fmt: skip


def test_a_reader_finds_each_term_explained_before_all_else() -> None:
    page = (PROJECT / "docs" / "concepts.md").read_text()
    terms = page.partition("\n## Terms\n")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| ([a-z ]+) \| [a-z].+ \|$", terms, re.MULTILINE)
    assert explained == ["term", *TERMS]
