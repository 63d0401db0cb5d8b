"""How many of hundreds of hand-made mistakes the unit tests notice, and which none does.

Run it with `python -m bench.mistakes [ROOM …]`.

Each mistake is made in a fork of one process that has loaded the package and its tests, and in a
copy of the package on disk for the processes that tests start. The tests of its room run there
until one fails. A row whose text is not found exactly once in its room, in a function, fails the
run: the code was rewritten, so write the row for what it says now.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parent.parent
LONGEST = 600.0
"""Seconds that the tests of a folder may take on a busy machine."""
PROCESSOR = 90
"""Seconds of the processor that they may take: more is a loop without an end."""
MEMORY = 4 << 30
"""Bytes that they may take: such a loop may fill the memory."""
NO_SUCH_TEST = 4
NOTICED = Path.home() / ".cache" / "pulumi-snapshots" / "mistakes.json"
"""By mistake the test that has noticed it last, which runs first."""
LEFT_OUT: list[str] = []
QUIET = ("-q", "-x", "-p", "no:cacheprovider", "-m", "not engine")
TESTS = {
    "ledger": (
        "ledger/test_decision.py",
        "ledger/test_ledger.py",
        "ledger",
        "service",
        "snapshot",
        "restore",
        "run",
        "guard",
        "dynamic/test_lifecycle.py",
    ),
    "run": (
        "run",
        "ledger",
        "snapshot",
        "restore",
        "drill",
        "guard/test_old_or_unknown_snapshots.py",
        "dynamic/test_lifecycle.py",
        "dynamic/test_notify_in_programs.py",
    ),
    "snapshot": ("snapshot", "ledger", "listing", "run", "guard"),
    "restore": (
        "restore",
        "ledger",
        "run",
        "cli/test_create_is_new.py",
        "cli/test_undo.py",
    ),
    "listing": (
        "listing",
        "lookup",
        "snapshot",
        "guard",
        "run",
        "cli/test_list_before_create.py",
        "cli/test_commands.py",
    ),
    "guard": ("guard", "ledger"),
    "service": ("service", "ledger", "guard/test_beside_a_snapshot.py"),
    "archive": (
        "archive/test_equal_names.py",
        "archive/test_owners.py",
        "archive/test_unproved.py",
        "archive/test_removal.py",
        "archive/test_retention.py",
        "archive/test_overwriting.py",
        "archive/test_preview.py",
        "archive/test_archive_zip.py",
        "archive/test_archive_inputs.py",
        "archive/test_archive.py",
        "archive/test_manifests.py",
    ),
    "storage": (
        "cli/test_typed_secrets.py",
        "archive/test_overwriting.py",
        "archive/test_removal.py",
        "archive/test_archive_files.py",
        "archive/test_archive_inputs.py",
        "archive/test_manifests.py",
        "archive/test_owners.py",
        "archive/test_archive.py",
        "archive/test_credentials.py",
        "archive/test_archive_buckets.py",
    ),
    "hosts": ("hosts", "cli/test_notify.py", "archive/test_archive.py"),
    "cli/archives": (
        "archive/test_overwriting.py",
        "archive/test_unproved.py",
        "archive/test_manifests.py",
        "archive/test_retention.py",
        "archive/test_removal.py",
        "cli/test_typed_secrets.py",
        "cli/test_create_and_copy.py",
        "cli/test_commands.py",
        "cli/test_trouble.py",
    ),
    "drill": (
        "drill/test_drill_inputs.py",
        "drill/test_scratch.py",
        "drill/test_reach.py",
        "drill/test_drill.py",
        "drill/test_drill_tables.py",
        "drill/test_drills_of_killed_runs.py",
        "cli/test_report.py",
    ),
    "databases": (
        "databases/test_kinds.py",
        "databases/test_order_of_counts.py",
        "databases/test_ask.py",
        "databases/test_count_tables.py",
    ),
    "cli/assurance": (
        "cli/test_report.py",
        "cli/test_drill.py",
        "cli/test_status.py",
        "cli/test_guards.py",
        "cli/test_runs.py",
    ),
    "program": (
        "plugin/test_mocks.py",
        "guard/test_declaration.py",
        "dynamic/test_without_requests.py",
        "dynamic/test_guard_without_database.py",
        "dynamic/test_lookups_in_programs.py",
    ),
    "plugin": (
        "plugin/protocol/test_component.py",
        "plugin/protocol/test_attached.py",
        "plugin/protocol/test_protocol.py",
        "plugin/protocol/test_edges.py",
        "dynamic/test_without_requests.py",
        "dynamic/test_damaged_states.py",
        "dynamic/test_lifecycle.py",
        "plugin",
    ),
    "dynamic": (
        "dynamic/test_guard_without_database.py",
        "dynamic/test_without_requests.py",
        "dynamic/test_damaged_states.py",
        "dynamic/test_engine_access.py",
        "dynamic/test_once_per_process.py",
        "dynamic/test_lifecycle.py",
    ),
    "engine": (
        "guard/test_questions.py",
        "dynamic/test_engine_access.py",
        "dynamic/test_lifecycle.py",
        "dynamic/test_damaged_states.py",
        "plugin",
    ),
    "cli/terminal": (
        "cli/test_typed_secrets.py",
        "cli/test_create_is_new.py",
        "cli/test_trouble.py",
        "cli/terminal",
        "cli/test_commands.py",
    ),
    "cli/snapshots": (
        "cli/test_guard_command.py",
        "cli/test_trouble.py",
        "cli/test_confirmation.py",
        "cli/test_commands.py",
    ),
    "cli/setup": ("cli/test_probe.py", "cli/test_doctor.py"),
    "properties": (
        "properties",
        "errors",
        "dynamic/test_without_requests.py",
        "dynamic/test_damaged_states.py",
        "run/test_settings.py",
        "hosts",
    ),
    "errors": ("errors", "cli/test_typed_secrets.py", "cli/test_answer_codes.py"),
    ".": ("service", "ledger", "run"),
}
"""The folders or files of tests for each room, the likeliest first."""
MISTAKES = (
    # Who may send a request.
    (
        "ledger",
        "(attempt.kind, attempt.owner) != (self.kind, self.owner)",
        "attempt.owner != self.owner",
    ),
    (
        "ledger",
        "if attempt.database_id == self.database_id:\n            return True",
        "if True:\n            return True",
    ),
    ("ledger", "if attempt.database_id == self.database_id:\n            return True", "pass"),
    (
        "ledger",
        "return is_resource(self.owner) and attempt.account == self.account",
        "return attempt.account == self.account",
    ),
    (
        "ledger",
        "return is_resource(self.owner) and attempt.account == self.account",
        "return is_resource(self.owner)",
    ),
    (
        "ledger",
        "return attempt.database_id == self.database_id and same_triggers",
        "return same_triggers",
    ),
    (
        "ledger",
        "return attempt.database_id == self.database_id and same_triggers",
        "return attempt.database_id == self.database_id",
    ),
    (
        "ledger",
        "attempt.purpose == self.purpose or attempt.purpose in self.also_purposes",
        "attempt.purpose == self.purpose",
    ),
    ("ledger", "return bool(attempt.names & self.seen)", "return attempt.id in self.seen"),
    (
        "ledger",
        "return self.began_with is not None and attempt.id not in self.began_with",
        "return False",
    ),
    (
        "ledger",
        "return self.began_with is not None and attempt.id not in self.began_with",
        "return self.began_with is not None",
    ),
    (
        "ledger",
        'counting.sort(key=attrgetter("request.posted_at"), reverse=True)',
        'counting.sort(key=attrgetter("request.posted_at"))',
    ),
    (
        "ledger",
        "if not each.is_past(now) and not each.is_void(now) and each.id not in wish.void",
        "if not each.is_void(now) and each.id not in wish.void",
    ),
    (
        "ledger",
        "if not each.is_past(now) and not each.is_void(now) and each.id not in wish.void",
        "if not each.is_past(now) and each.id not in wish.void",
    ),
    (
        "ledger",
        "if not each.is_past(now) and not each.is_void(now) and each.id not in wish.void",
        "if not each.is_past(now) and not each.is_void(now)",
    ),
    ("ledger", "due=posted_at + LEAVES_WITHIN", "due=posted_at + timedelta(hours=1)"),
    (
        "ledger",
        "due=posted_at + LEAVES_WITHIN, forced=wish.forced",
        "due=posted_at + LEAVES_WITHIN",
    ),
    ("ledger", "if wish.id in attempts:", "if False:"),
    # The row of what a Snapshot has left unsaved.
    (
        "ledger",
        "if newest is None or wish.forced or not is_resource(wish.owner):",
        "if newest is None or not is_resource(wish.owner):",
    ),
    (
        "ledger",
        "if newest is None or wish.forced or not is_resource(wish.owner):",
        "if newest is None or wish.forced:",
    ),
    (
        "ledger",
        "is_unsaved = not newest.saved and not wish.has_seen(newest)",
        "is_unsaved = not newest.saved",
    ),
    (
        "ledger",
        "is_unsaved = not newest.saved and not wish.has_seen(newest)",
        "is_unsaved = not wish.has_seen(newest)",
    ),
    (
        "ledger",
        "if is_unsaved and wish.is_for_same(newest) and known.age(newest) <= UNSAVED_LASTS:",
        "if is_unsaved and known.age(newest) <= UNSAVED_LASTS:",
    ),
    (
        "ledger",
        "if is_unsaved and wish.is_for_same(newest) and known.age(newest) <= UNSAVED_LASTS:",
        "if is_unsaved and wish.is_for_same(newest):",
    ),
    (
        "ledger",
        "if is_unsaved and wish.is_for_same(newest) and known.age(newest) <= UNSAVED_LASTS:",
        "if is_unsaved and wish.is_for_same(newest) and known.age(newest) < UNSAVED_LASTS:",
    ),
    # The row of a request that a command or a guard may use.
    (
        "ledger",
        'if wish.reuses is None or owner_kind(wish.owner) != "command":',
        "if wish.reuses is None:",
    ),
    (
        "ledger",
        "if not each.is_over and known.age(each) <= wish.reuses:",
        "if known.age(each) <= wish.reuses:",
    ),
    ("ledger", "if not each.is_over and known.age(each) <= wish.reuses:", "if not each.is_over:"),
    # The row of another's open request.
    ("ledger", "if (each.kind, each.database_id) == about]", "if each.kind == about[0]]"),
    ("ledger", "if (each.kind, each.database_id) == about]", "if each.database_id == about[1]]"),
    ("ledger", "if known.now < each.waited_for_until:", "if not each.is_over:"),
    ("ledger", "if known.now < each.waited_for_until:", "if known.now <= each.waited_for_until:"),
    ("ledger", 'return Claim(each, "in the way")', "continue"),
    # The row of a restore that a resource or a drill has left.
    (
        "ledger",
        "if newest is None or not is_resource(wish.owner) or not wish.is_for_same(newest):",
        "if newest is None or not is_resource(wish.owner):",
    ),
    (
        "ledger",
        "if newest is None or not is_resource(wish.owner) or not wish.is_for_same(newest):",
        "if newest is None or not wish.is_for_same(newest):",
    ),
    (
        "ledger",
        "is_of_this_run = newest.in_state == wish.run and not wish.forced",
        "is_of_this_run = newest.in_state == wish.run",
    ),
    (
        "ledger",
        "is_of_this_run = newest.in_state == wish.run and not wish.forced",
        "is_of_this_run = not wish.forced",
    ),
    (
        "ledger",
        "is_of_this_run = newest.in_state == wish.run and not wish.forced",
        "is_of_this_run = False",
    ),
    (
        "ledger",
        'return Claim(newest, "resumed") if _is_left(newest, wish) else None',
        "return None",
    ),
    (
        "ledger",
        "if wish.has_seen(newest) or (wish.forced and not newest.forced):",
        "if wish.has_seen(newest):",
    ),
    (
        "ledger",
        "if wish.has_seen(newest) or (wish.forced and not newest.forced):",
        "if wish.has_seen(newest) or wish.forced:",
    ),
    (
        "ledger",
        "if wish.has_seen(newest) or (wish.forced and not newest.forced):",
        "if wish.forced and not newest.forced:",
    ),
    (
        "ledger",
        'if newest.status is Status.FAILED and owner_kind(wish.owner) == "drill":',
        "if False:",
    ),
    (
        "ledger",
        "return not newest.saved or newest.status is Status.FAILED",
        "return not newest.saved",
    ),
    ("ledger", "return not newest.saved or newest.status is Status.FAILED", "return True"),
    # The row of the same command.
    (
        "ledger",
        'if newest is None or wish.forced or owner_kind(wish.owner) != "command":',
        'if newest is None or owner_kind(wish.owner) != "command":',
    ),
    (
        "ledger",
        "return next((each for each in self.mine if each.source == source), None)",
        "return self.newest",
    ),
    ("ledger", "elif newest.has_known_end:", "elif newest.is_over:"),
    ("ledger", "is_resumed = wish.is_new_since(newest)", "is_resumed = False"),
    ("ledger", "is_resumed = wish.is_new_since(newest)", "is_resumed = True"),
    (
        "ledger",
        (
            "if not newest.is_over and known.age(newest) <= "
            "timedelta(seconds=newest.request.timeout):"
        ),
        "if not newest.is_over:",
    ),
    (
        "ledger",
        (
            "if not newest.is_over and known.age(newest) <= "
            "timedelta(seconds=newest.request.timeout):"
        ),
        "if not newest.is_over and known.age(newest) <= timedelta(seconds=wish.timeout):",
    ),
    ("ledger", "elif known.age(newest) <= timedelta(seconds=wish.timeout):", "elif False:"),
    (
        "ledger",
        "elif known.age(newest) <= timedelta(seconds=wish.timeout):",
        "elif known.age(newest) < timedelta(seconds=wish.timeout):",
    ),
    ("ledger", 'raise ClaimRefused("unknown", newest)', "return None"),
    # The rows that refuse a restore.
    ("ledger", 'raise ClaimRefused("overtaken", newest)', "pass"),
    (
        "ledger",
        (
            "newest is not None and is_resource(known.wish.owner) and "
            "known.wish.is_new_since(newest)"
        ),
        "newest is not None and known.wish.is_new_since(newest)",
    ),
    (
        "ledger",
        'if newest is None or wish.forced or owner_kind(wish.owner) != "resource":',
        'if newest is None or owner_kind(wish.owner) != "resource":',
    ),
    (
        "ledger",
        'if newest is None or wish.forced or owner_kind(wish.owner) != "resource":',
        "if newest is None or wish.forced:",
    ),
    ("ledger", "if wish.has_seen(newest):\n        return None\n    # What", "# What"),
    (
        "ledger",
        "if newest.is_dropped and not any(map(wish.has_seen, known.mine)):",
        "if not any(map(wish.has_seen, known.mine)):",
    ),
    (
        "ledger",
        "if newest.is_dropped and not any(map(wish.has_seen, known.mine)):",
        "if newest.is_dropped:",
    ),
    (
        "ledger",
        "if newest.is_dropped and not any(map(wish.has_seen, known.mine)):",
        "if False:",
    ),
    (
        "ledger",
        "for each in known.mine:\n        if wish.is_for_same(each):",
        "for each in known.mine[:1]:\n        if wish.is_for_same(each):",
    ),
    (
        "ledger",
        'if wish.is_for_same(each):\n            raise ClaimRefused("rolled back", each)',
        'raise ClaimRefused("rolled back", each)',
    ),
    (
        "ledger",
        'if wish.forced or owner_kind(wish.owner) != "resource":',
        'if owner_kind(wish.owner) != "resource":',
    ),
    ("ledger", 'if wish.forced or owner_kind(wish.owner) != "resource":', "if wish.forced:"),
    (
        "ledger",
        "is_same = each.source == wish.source and wish.is_for_same(each)",
        "is_same = wish.is_for_same(each)",
    ),
    (
        "ledger",
        "is_same = each.source == wish.source and wish.is_for_same(each)",
        "is_same = each.source == wish.source",
    ),
    ("ledger", "return known.age(last) <= RENAMED_WITHIN", "return True"),
    (
        "ledger",
        "return known.age(last) <= RENAMED_WITHIN",
        "return known.age(last) < RENAMED_WITHIN",
    ),
    ("ledger", 'raise ClaimRefused("renamed", each)', "pass"),
    (
        "ledger",
        'if owner_kind(attempt.owner) != "resource" or attempt.owner == owner:',
        "if attempt.owner == owner:",
    ),
    (
        "ledger",
        'if owner_kind(attempt.owner) != "resource" or attempt.owner == owner:',
        'if owner_kind(attempt.owner) != "resource":',
    ),
    (
        "ledger",
        "if _project_and_stack(owner) != _project_and_stack(attempt.owner):",
        "if False:",
    ),
    ("ledger", "if (each.kind, each.owner) == name)", "if each.owner == attempt.owner)"),
    (
        "ledger",
        "return known.age(last) <= RENAMED_WITHIN",
        "return known.age(attempt) <= RENAMED_WITHIN",
    ),
    ("ledger", "is_removed = attempt.is_dropped and last.is_dropped", "is_removed = False"),
    (
        "ledger",
        "is_removed = attempt.is_dropped and last.is_dropped",
        "is_removed = attempt.is_dropped",
    ),
    (
        "ledger",
        "is_removed = attempt.is_dropped and last.is_dropped",
        "is_removed = last.is_dropped",
    ),
    ("ledger", "if is_removed or attempt.status is Status.FAILED:", "if is_removed:"),
    # How long an attempt counts, and what two views of it know.
    ("ledger", "return self.is_over or self.request.outcome is not None", "return self.is_over"),
    ("ledger", "return self.held_until or NEVER", "return NEVER"),
    ("ledger", "if self.status is Status.CLAIMED:\n            return self.due or NEVER", "pass"),
    (
        "ledger",
        "return self.request.posted_at + min(own, LONGEST_WAIT)",
        "return self.request.posted_at + own",
    ),
    (
        "ledger",
        "return self.request.posted_at + min(own, LONGEST_WAIT)",
        "return self.request.posted_at + LONGEST_WAIT",
    ),
    (
        "ledger",
        "longest = LONGEST_WAIT if self.request.accepted else LATEST_OF_LOST",
        "longest = LONGEST_WAIT",
    ),
    (
        "ledger",
        "longest = LONGEST_WAIT if self.request.accepted else LATEST_OF_LOST",
        "longest = LATEST_OF_LOST",
    ),
    (
        "ledger",
        "return self.status is Status.CLAIMED and now > (self.due or NEVER) + SECOND",
        "return now > (self.due or NEVER) + SECOND",
    ),
    (
        "ledger",
        "return self.status is Status.CLAIMED and now > (self.due or NEVER) + SECOND",
        "return self.status is Status.CLAIMED and now > (self.due or NEVER)",
    ),
    (
        "ledger",
        "return self.status is Status.CLAIMED and now > (self.due or NEVER) + SECOND",
        "return False",
    ),
    ("ledger", "return not self.is_void(now)", "return False"),
    ("ledger", "return not self.is_void(now)", "return now < (self.due or NEVER)"),
    (
        "ledger",
        "return self.status is Status.SENT and now < (self.due or NEVER)",
        "return False",
    ),
    (
        "ledger",
        "return self.status is Status.SENT and now < (self.due or NEVER)",
        "return self.status is Status.SENT",
    ),
    (
        "ledger",
        "return self.status is Status.SENT and now < (self.due or NEVER)",
        "return now < (self.due or NEVER)",
    ),
    (
        "ledger",
        "nobody_returns = self.saved or not is_resource(self.owner)",
        "nobody_returns = True",
    ),
    (
        "ledger",
        "nobody_returns = self.saved or not is_resource(self.owner)",
        "nobody_returns = self.saved",
    ),
    (
        "ledger",
        "FOUND_KEPT if self.has_snapshot and nobody_returns else KEPT",
        "FOUND_KEPT if nobody_returns else KEPT",
    ),
    ("ledger", "FOUND_KEPT if self.has_snapshot and nobody_returns else KEPT", "KEPT"),
    (
        "ledger",
        "last = max(each for each in times if each is not None)",
        "last = self.request.posted_at",
    ),
    (
        "ledger",
        "is_further = PROGRESS[other.status] > PROGRESS[self.status]",
        "is_further = PROGRESS[other.status] >= PROGRESS[self.status]",
    ),
    ("ledger", "is_further = PROGRESS[other.status] > PROGRESS[self.status]", "is_further = True"),
    (
        "ledger",
        "followed=max(filter(None, followed), default=None)",
        "followed=ahead.request.followed",
    ),
    ("ledger", "began=ahead.request.began or behind.request.began", "began=ahead.request.began"),
    (
        "ledger",
        "outcome=ahead.request.outcome or behind.request.outcome",
        "outcome=ahead.request.outcome",
    ),
    (
        "ledger",
        "in_state=self.in_state or (SAVED if other.saved else None)",
        "in_state=self.in_state",
    ),
    (
        "ledger",
        "in_state=self.in_state or (SAVED if other.saved else None)",
        "in_state=SAVED if other.saved else None",
    ),
    (
        "ledger",
        "in_state=self.in_state or (SAVED if other.saved else None)",
        "in_state=self.in_state or other.in_state",
    ),
    (
        "ledger",
        "return Status.ACCEPTED if self.accepted else Status.LOST",
        "return Status.ACCEPTED",
    ),
    ("ledger", "if self.answered == NOT_ANSWERED:\n            return Status.SENT", "pass"),
    ("ledger", "if not self.accepted:\n            return LOST_AFTER", "pass"),
    ("ledger", "return max(FAILED_AFTER, timedelta(seconds=self.timeout))", "return FAILED_AFTER"),
    (
        "ledger",
        "{self.id, request_name(self.kind, self.database_id, self.request.requested)}",
        "{self.id}",
    ),
    ("ledger", 'mark = DRILL_TYPE if own_type.endswith(f":{DRILL_TYPE}") else ""', 'mark = ""'),
    (
        "ledger",
        'return "drill" if DRILL_TYPE in owner.split("::")[2:-1] else "resource"',
        'return "resource"',
    ),
    (
        "ledger",
        'return "drill" if DRILL_TYPE in owner.split("::")[2:-1] else "resource"',
        'return "drill" if DRILL_TYPE in owner.split("::") else "resource"',
    ),
    ("ledger", "and all(FIRST_TIME <= each < LAST_TIME for each in times if each)", ""),
    ("ledger", "and all(isinstance(each, str | None) for each in texts)", ""),
    ("ledger", "self.kind in get_args(Kind)\n            and all(", "all("),
    # What is entered.
    ("ledger", "_mark_saved(document, self.seen)", "pass"),
    ("ledger", "del document[ATTEMPTS][id_]", "pass"),
    ("ledger", "if self.clock.is_known():", "if True:"),
    ("ledger", "if each.is_past(now) or each.is_void(now):", "if each.is_past(now):"),
    ("ledger", "if each.is_past(now) or each.is_void(now):", "if each.is_void(now):"),
    (
        "ledger",
        "entered.status is not Status.CLAIMED or now > (entered.due or now)",
        "entered.status is not Status.CLAIMED",
    ),
    (
        "ledger",
        "entered.status is not Status.CLAIMED or now > (entered.due or now)",
        "now > (entered.due or now)",
    ),
    ("ledger", "status=Status.SENT, due=now + answered_within", "status=Status.SENT"),
    (
        "ledger",
        "known = entered.joined(attempt) if entered is not None else attempt",
        "known = attempt",
    ),
    ("ledger", "if entered is not None or is_answered or is_new:", "if True:"),
    (
        "ledger",
        "if entered is not None or is_answered or is_new:",
        "if entered is not None or is_new:",
    ),
    (
        "ledger",
        "if entered is not None or is_answered or is_new:",
        "if entered is not None or is_answered:",
    ),
    (
        "ledger",
        "is_answered = PROGRESS[attempt.status] > PROGRESS[Status.LOST]",
        "is_answered = PROGRESS[attempt.status] >= PROGRESS[Status.LOST]",
    ),
    ("ledger", "status=Status.FAILED if failed else Status.FOUND", "status=Status.FOUND"),
    ("ledger", "held_until=now + holds if holds else None", "held_until=None"),
    ("ledger", "_put(document, replace(entered, held_until=until))", "pass"),
    (
        "ledger",
        "if entered.is_over or answered != attempt.request.answered:",
        "if entered.is_over:",
    ),
    (
        "ledger",
        "if entered.is_over or answered != attempt.request.answered:",
        "if answered != attempt.request.answered:",
    ),
    (
        "ledger",
        "answered = entered.joined(attempt).request.answered",
        "answered = entered.request.answered",
    ),
    ("ledger", "if not each.names & dropped:\n                    continue", "pass"),
    ("ledger", "in_state=run or SAVED", "in_state=run"),
    ("ledger", "in_state=run or SAVED", "in_state=SAVED"),
    ("ledger", "if not wanted & waiting:", "if False:"),
    ("run", "memory.note_dropped(shown.names)", "pass"),
    ("ledger", "waiting -= dropped", "pass"),
    ("ledger", "if id_ in seen or name in seen:", "if id_ in seen:"),
    ("ledger", "if id_ in seen or name in seen:", "if name in seen:"),
    ("ledger", 'entry["in_state"] = SAVED', 'entry.setdefault("in_state", SAVED)'),
    # Where it is written.
    (
        "ledger",
        "if not isinstance(written, int) or written > NEWEST:",
        "if not isinstance(written, int):",
    ),
    (
        "ledger",
        "if not isinstance(document, dict):\n            raise self.unavailable(",
        "if False:\n            raise self.unavailable(",
    ),
    ("ledger", 'self._begin(connection, "BEGIN IMMEDIATE")', 'self._begin(connection, "BEGIN")'),
    ("ledger", "if code in BROKEN or whole_code == CUT:", "if whole_code == CUT:"),
    ("ledger", "if self.is_shared and not (folder.is_dir() or is_own):", "if False:"),
    ("ledger", "if failures == TRIES or not scope.shield:", "if failures == TRIES:"),
    ("ledger", "if failures == TRIES or not scope.shield:", "if True:"),
    ("ledger", "pause = self._chance.uniform(0.0, min(longest, LONGEST_PAUSE))", "pause = 0.0"),
    (
        "ledger",
        "check.replace, secrets.token_bytes(), stale)",
        "check.overwrite, secrets.token_bytes())",
    ),
    ("ledger", "if written < NEWEST:", "if False:"),
    ("ledger", "if self._path.stat().st_size == 0:", "if False:"),
    (
        "ledger",
        (
            "            if self._was_there:\n"
            "                raise self.unavailable(*GONE)\n            return None"
        ),
        "            return None",
    ),
    ("ledger", 'if _journal(connection) != "wal":\n            return', "return"),
    (
        "ledger",
        'if _journal(connection) == "wal":\n            raise',
        "if False:\n            raise",
    ),
    ("ledger", "_open_as(self._path, 0o666 if self.is_shared else 0o600)", "pass"),
    ("ledger", 'how = "rw" if self._was_there else "rwc"', 'how = "rw"'),
    ("ledger", "            scope.shield = True\n", ""),
    ("ledger", "scope.shield = False", "pass"),
    ("ledger", "if not is_lost:", "if True:"),
    ("ledger", "if held is None or not held.content:", "if held is None:"),
    ("ledger", "if left:\n            # Without", "if False:\n            # Without"),
    (
        "ledger",
        "document[ATTEMPTS] = {**attempts, **document.get(ATTEMPTS, {})}",
        "document[ATTEMPTS] = {**document.get(ATTEMPTS, {}), **attempts}",
    ),
    ("ledger", 'return moved if moved.get("to") == where else', "return moved if moved else"),
    ("ledger", 'if moved["book"] != _digest(book):', "if False:"),
    ("ledger", "if _identity(each, time) not in known]", "]"),
    (
        "ledger",
        "for id_, each in attempts.items() if id_ not in moved[ATTEMPTS]}",
        "for id_, each in attempts.items()}",
    ),
    (
        "ledger",
        "return Successor(shared, own) if state_directory.is_absolute() else shared",
        "return shared",
    ),
    # How fast.
    ("service", "[lane.name] if lane.per_account > 0 else []", "[]"),
    ("service", "fewer = max(1, self.budget - lane.checks)", "fewer = self.budget"),
    ("service", "fewer = max(1, self.budget - lane.checks)", "fewer = self.budget - lane.checks"),
    ("service", "if self.reserved and lane.checks == 0:", "if self.reserved:"),
    ("service", "if not lane.is_urgent:", "if not lane.starts:"),
    ("restore", "(within=CHECKED_WITHIN), lane=CHECK", "(within=CHECKED_WITHIN)"),
    ("guard", "max(at_latest, self._requested(entry) + SECOND)", "at_latest"),
    ("service", "if departed is None or sent is None:", "if sent is None:"),
    (
        "service",
        "if request.lane.per_database > 0:\n                limits.append(request.cooldown)",
        "pass",
    ),
    (
        "service",
        "left = OwnRequest(self._leaves_at(request, traffic), limits)",
        "left = OwnRequest(sent.at, limits)",
    ),
    # What a Snapshot and a guard of one run share, and who has to take another one.
    (
        "ledger",
        'if wish.forced or not wish.run or owner_kind(wish.owner) != "resource":',
        'if not wish.run or owner_kind(wish.owner) != "resource":',
    ),
    (
        "ledger",
        "if each.shared_in == wish.run and each.request.posted_at >= restored_at:",
        "if each.shared_in and each.request.posted_at >= restored_at:",
    ),
    (
        "ledger",
        "if each.shared_in == wish.run and each.request.posted_at >= restored_at:",
        "if each.shared_in == wish.run:",
    ),
    ("ledger", "if entered is None or entered.shared_in is None:", "if entered is None:"),
    ("guard", "if not all(each.startswith(FIRST_UP) for each in happened):", "if False:"),
    ("guard", "if not all(each.startswith(FIRST_UP) for each in happened):", "if True:"),
    ("guard", "shared_in=run if guard in self.whole else None,", "shared_in=run,"),
    (
        "guard",
        'return {*CHANGES} <= {*changes} and not {"*", CHOSEN_ALL}.isdisjoint(patterns)',
        'return not {"*", CHOSEN_ALL}.isdisjoint(patterns)',
    ),
    (
        "guard",
        "is_wanted = each.guard == guard and each.database_id == database_id",
        "is_wanted = each.database_id == database_id",
    ),
    ("service", 'return None if claim.role == "new" else Entry(claim)', "return None"),
    ("service", "is_new = traffic.now < cooldown != request.cooldown_seen", "is_new = False"),
    ("snapshot", "await self.enter_result(self._finished.version, holds=CLEAR)", "pass"),
    ("run", "if next_poll is not None and next_poll > ends:", "if False:"),
    ("restore", "if self.attempt is not None and self._kept is not None:", "if False:"),
    ("service", "sent.limits = sent.limits[:1]", "pass"),
    ("service", "raise cancelled from NotSent(request.text)", "raise"),
    (
        "service",
        'if self._leaving and name.endswith("send_request_headers.started"):',
        "if False:",
    ),
    (
        "service",
        'bool(names) and all(name.startswith("connection.") for name in names)',
        'all(name.startswith("connection.") for name in names)',
    ),
    (
        "service",
        'bool(names) and all(name.startswith("connection.") for name in names)',
        'any(name.startswith("connection.") for name in names)',
    ),
    ("service", "and each.at < (latest if each.limits else latest_reserved)", ""),
    (
        "service",
        "for lane, at in self.blocks.items() if now < at < now + LONGEST_BLOCK",
        "for lane, at in self.blocks.items() if False",
    ),
    ("service", "[*((each.at, each.limits) for each in self.others), *own]", "own"),
    # How often the ledger is written for reads, and that its limits hold all the same.
    (
        "service",
        "if not _must_enter(request, pacing.traffic):\n                    await pacing.look()",
        "pass",
    ),
    (
        "service",
        "return not is_reserved and not traffic.may_go_unentered(lane)",
        "return not traffic.may_go_unentered(lane)",
    ),
    (
        "service",
        "return not is_reserved and not traffic.may_go_unentered(lane)",
        "return not is_reserved",
    ),
    ("service", "return not is_reserved and not traffic.may_go_unentered(lane)", "return False"),
    (
        "service",
        "if lane.per_account > 0 and not request.enters_later:\n            return True",
        "pass",
    ),
    (
        "service",
        (
            "if lane.per_account not in {READ.per_account, ACCOUNT_LANE.per_account}:\n"
            "            return False"
        ),
        "pass",
    ),
    ("service", "sum(at > self._minute_ago for at in self._entered) <= self._few", "True"),
    (
        "service",
        "each.enters_later and lane.name not in each.limits for each",
        "each.enters_later for each",
    ),
    ("service", "and self._recent_unentered < self._few", ""),
    ("service", "return is_urgent or self._recent_unentered > self._few", "return is_urgent"),
    ("service", "return is_urgent or self._recent_unentered > self._few", "return True"),
    ("service", "2 * recent if recent > 1 else 0, waiting", "2 * recent, waiting"),
    ("service", "2 * recent if recent > 1 else 0, waiting", "2 * recent if recent > 1 else 0"),
    ("service", "self.budget * RESERVED_NINTHS // 9,", ""),
    ("service", "self.budget * RESERVED_BY_ALL_NINTHS // 9 - by_others,", ""),
    ("service", "opens = max(self.now, then.reads_free_at)", "opens = self.now"),
    (
        "service",
        "closes = max(opens, usual) + min(pace, LONGEST_SLACK)",
        "closes = opens + REQUEST_KEPT",
    ),
    ("service", "[*reads, *(each.closes for each in self.reserved)]", "[*reads]"),
    ("service", "reads += [self._busy_since] * UNSEEN_RUNS * self._few", "pass"),
    ("service", "if since <= oldest + BUDGET_WINDOW:", "if True:"),
    (
        "service",
        "passed = max(self._clock.age_of(stamp), self._clock.monotonic() - at)",
        "passed = self._clock.monotonic() - at",
    ),
    ("service", "if at + passed < each.closes", ""),
    ("service", "self._reserved = self._still_reserved()[1:]", "pass"),
    ("service", "is_entered=request.lane.is_read and bool(traffic.reserved)", "is_entered=False"),
    (
        "service",
        "is_news = bool(self._own_blocks) or entry.is_news or self._lacks_own",
        "is_news = True",
    ),
    (
        "service",
        "is_news = bool(self._own_blocks) or entry.is_news or self._lacks_own",
        "is_news = entry.is_news or self._lacks_own",
    ),
    ("service", "if edited.limits.get(each) is each.limits:", "if True:"),
    ("service", "elif self._waits_for_budget(request, traffic):", "elif False:"),
    ("service", 'for name in ("", lane.name)', 'for name in ("",)'),
    (
        "snapshot",
        "patience=REFRESH, together=True",
        "patience=REFRESH._replace(enters_later=False), together=True",
    ),
    (".", "if max(abs(least), abs(most)) > PLAUSIBLE:", "if False:"),
    # The service's clock, and this machine's.
    (".", "elif shown.agrees_with(believed):", "elif True:"),
    (
        ".",
        "believed = believed.narrowed_by(shown)\n            self._doubting = None",
        "believed = believed.narrowed_by(shown)",
    ),
    (
        ".",
        "if self._doubting is not None and self._is_seconded(self._doubting, shown):",
        "if True:",
    ),
    (
        ".",
        "return shown.date != doubting.date and shown.agrees_with(doubting)",
        "return shown.agrees_with(doubting)",
    ),
    (
        ".",
        "return shown.date != doubting.date and shown.agrees_with(doubting)",
        "return shown.date != doubting.date",
    ),
    (
        ".",
        "if span is None or span.earliest - skew <= claimed <= span.latest + skew:",
        "if span is None or claimed <= span.latest + skew:",
    ),
    (
        ".",
        "if span is None or span.earliest - skew <= claimed <= span.latest + skew:",
        "if span is None or span.earliest - skew <= claimed:",
    ),
    (
        ".",
        "return max(abs((now.wall - stamp.wall).total_seconds()), now.boot - stamp.boot)",
        "return now.boot - stamp.boot",
    ),
    ("service", 'if "age" in answer.headers:', "if False:"),
    ("service", "        error.sent_within = answer.sent_within\n", ""),
    # Around a request.
    ("run", "if self.wish.began_with is None:", "if False:"),
    ("run", "if self.wish.began_with is None:", "if True:"),
    ("run", "await self._know_time(attempts)", "pass"),
    ("run", "if left is None or left.is_owner_at_work(clock.now()):", "if left is None:"),
    ("run", "if left is None or left.is_owner_at_work(clock.now()):", "if True:"),
    ("run", "session.memory.note_taken(attempt.names)", "pass"),
    ("run", "if attempt.is_dropped:", "if False:"),
    (
        "run",
        "while known is not None and known.is_owner_at_work(session.service_clock.now()):",
        "while False:",
    ),
    ("run", "if known is None or known.is_void(session.service_clock.now()):", "if known is None:"),
    (
        "run",
        "if known is None or known.is_void(session.service_clock.now()):",
        "if known is not None and known.is_void(session.service_clock.now()):",
    ),
    ("run", "if other.is_over or other.is_owner_at_work(now):", "if other.is_over:"),
    ("run", "if other.is_over or other.is_owner_at_work(now):", "if other.is_owner_at_work(now):"),
    ("run", "with anyio.move_on_after(left):", "if True:"),
    (
        "run",
        "if known is not None and not known.is_over:\n                    await settle(known)",
        "await settle(other)",
    ),
    ("run", "self.wish = replace(self.wish, void=self.wish.void | {other.id})", "pass"),
    (
        "run",
        (
            "decided_at = session.clock.stamp()\n"
            "            return session.ledger.decided(document, wish)"
        ),
        "return session.ledger.decided(document, wish)",
    ),
    ("run", "if session.clock.age_of(decided_at) > LEAVES_WITHIN.total_seconds():", "if False:"),
    ("run", "within = timedelta(seconds=LONGEST_POST)", "within = timedelta()"),
    (
        "run",
        "if left is None:\n            raise ClaimTooOld(path)\n        self.attempt = left",
        "self.attempt = left or self.attempt",
    ),
    (
        "run",
        "if left is None:\n            raise ClaimTooOld(path)\n        self.attempt = left",
        "if left is None:\n            raise ClaimTooOld(path)",
    ),
    ("run", 'may_have_begun = wish.kind == "restore" and is_new(error)', "may_have_begun = False"),
    (
        "run",
        (
            "if not error.ambiguous and not may_have_begun:\n"
            "                await self.withdraw()\n                raise"
        ),
        "if not error.ambiguous and not may_have_begun:\n                raise",
    ),
    (
        "run",
        (
            "except ProviderError:  # kept back right before the request would have left\n"
            "            await self.withdraw()\n            raise"
        ),
        "except ProviderError:\n            raise",
    ),
    (
        "run",
        "posted_at = corrected_time(sent.request.posted_at, sent_within, SKEW)",
        "posted_at = sent.request.posted_at",
    ),
    ("run", "self.attempt = await self.session.ledger.enter(self.attempt)", "pass"),
    (
        "run",
        "self._unsent = self._unsent + 1 if isinstance(refusal, NotSent) else 0",
        "self._unsent += 1",
    ),
    ("run", "self._unsent == UNSENT_TRIES or not isinstance", "not isinstance"),
    ("run", "if self.sent.status is Status.CLAIMED:", "if False:"),
    ("run", 'if claim.role != "new":\n            return\n', "pass\n"),
    ("run", ", refusal.retry_after or 0.0)", ", 0.0)"),
    ("run", "self.attempt = each.joined(own)", "self.attempt = each"),
    ("run", "self.attempt = each.joined(own)", "pass"),
    ("run", "left is not None and left.request.posted_at > self.sent.request.posted_at", "False"),
    (
        "run",
        "left is not None and left.request.posted_at > self.sent.request.posted_at",
        "left is not None",
    ),
    ("run", "if left < SECOND:", "if False:"),
    ("run", "if left < SECOND:", "if True:"),
    ("run", "ledger.enter(self.sent, is_new=True)", "ledger.enter(self.sent)"),
    ("run", "attempt, result, failed=failed, holds=holds", "attempt, result, failed=failed"),
    (
        "run",
        "if is_gone:\n            self.attempt = None",
        "if True:\n            self.attempt = None",
    ),
    ("run", "self.is_resumed = False\n            self.ignore(attempt)", "self.is_resumed = False"),
    ("snapshot", "if not await self.withdraw():", "await self.withdraw()\n        if False:"),
    ("run", "self.session.memory.note_in_state(self.attempt.names)", "pass"),
    (
        "run",
        "with anyio.CancelScope(shield=True), suppress(LedgerUnavailable):\n            yield",
        "with suppress(LedgerUnavailable):\n            yield",
    ),
    (
        "run",
        "if self.attempt is None:\n                error.done = NOT_WRITTEN",
        "error.done = NOT_WRITTEN",
    ),
    (
        "run",
        "if not service_clock.is_known() and asked_at < began:",
        "if not service_clock.is_known():",
    ),
    ("run", "raise NothingSent(happened, then=then) from failure", "pass"),
    (
        "run",
        "forced=forced,\n            reuses=reuses,\n            also",
        "reuses=reuses,\n            also",
    ),
    (
        "run",
        "reuses=reuses,\n            also_purposes=self.memory.purposes(triggers)",
        "reuses=reuses",
    ),
    (
        "run",
        (
            "also_purposes=self.memory.purposes(triggers),\n"
            "            seen=frozenset(self.memory.seen)"
        ),
        "also_purposes=self.memory.purposes(triggers)",
    ),
    # What the engine has asked before.
    (
        "run",
        "self.is_forced = self.is_forced or in_state or self._was_read",
        "self.is_forced = self.is_forced or self._was_read",
    ),
    (
        "run",
        "self.is_forced = self.is_forced or in_state or self._was_read",
        "self.is_forced = self.is_forced or in_state",
    ),
    ("run", "self._was_checked = True\n        self._was_read = False", "self._was_checked = True"),
    (
        "run",
        "self._was_read = False\n        if not self._was_compared:",
        "if not self._was_compared:",
    ),
    ("run", "self.calls_of(call).note_read()", "pass"),
    (
        "run",
        "if self.is_forced:\n            self._was_compared = True",
        "if True:\n            self._was_compared = True",
    ),
    (
        "run",
        "if self.is_forced:\n            self._was_compared = True",
        "if False:\n            self._was_compared = True",
    ),
    ("run", "self._was_checked = self._was_checked or kept is None\n", "pass\n"),
    ("run", "or kept is None\n        self.is_forced = False", "or kept is None"),
    ("run", "if not self._was_compared:", "if True:"),
    ("run", "self._to_keep = None if self._was_checked else dropped", "self._to_keep = dropped"),
    ("run", "self._to_keep = None if self._was_checked else dropped", "self._to_keep = None"),
    ("run", "return self._was_compared and self._to_keep is not None", "return False"),
    (
        "run",
        "return self._was_compared and self._to_keep is not None",
        "return self._to_keep is not None",
    ),
    ("run", "if self.is_forced or kept is None:", "if kept is None:"),
    (
        "run",
        "return kept if self._was_compared or kept.purpose in purposes else None",
        "return kept",
    ),
    (
        "run",
        "return kept if self._was_compared or kept.purpose in purposes else None",
        "return kept if self._was_compared else None",
    ),
    (
        "run",
        "return kept if self._was_compared or kept.purpose in purposes else None",
        "return kept if kept.purpose in purposes else None",
    ),
    ("run", "if self.request is not None:\n            names.add(self.request.id)", "pass"),
    (
        "run",
        "if self.requested_at is not None:\n            names.add",
        "if False:\n            names.add",
    ),
    ("run", "if isinstance(value, str) and value in self._other_ids:", "if False:"),
    ("run", "self.calls_of(call).note_check(in_state=in_state)", "pass"),
    ("run", "if reason:\n                problems.append(Problem(name, reason))", "pass"),
    ("run", "if self.note_seen(call, state) is not None:", "if False:"),
    ("run", "await self._enter_delete(call, shown)", "pass"),
    ("run", "calls.note_delete(shown)", "pass"),
    (
        "run",
        "is_made_again = calls.is_kept or bool(shown.names & memory.taken)",
        "is_made_again = calls.is_kept",
    ),
    (
        "run",
        "is_made_again = calls.is_kept or bool(shown.names & memory.taken)",
        "is_made_again = bool(shown.names & memory.taken)",
    ),
    (
        "run",
        'acts_again = self.kind == "restore" and not is_made_again',
        "acts_again = not is_made_again",
    ),
    (
        "run",
        'acts_again = self.kind == "restore" and not is_made_again',
        'acts_again = self.kind == "restore"',
    ),
    ("run", 'acts_again = self.kind == "restore" and not is_made_again', "acts_again = False"),
    (
        "run",
        'memory.run or "unknown" if acts_again else None',
        "memory.run if acts_again else None",
    ),
    ("run", "call.shared.memory.note_in_state(shown.names)", "pass"),
    (
        "run",
        "stays = not found.replaces and self.acts_again not in found.updates",
        "stays = not found.replaces",
    ),
    ("run", "note_diff(shown if stays else None)", "note_diff(shown)"),
    ("run", "note_diff(shown if stays else None)", "note_diff(None)"),
    ("run", "if kept is not None and self.stays(kept.record, inputs):", "if kept is not None:"),
    ("run", "if kept is not None and self.stays(kept.record, inputs):", "if False:"),
    ("run", "await keep_in_ledger(call, kept)", "pass"),
    ("run", "memory.note_taken(kept.names)", "pass"),
    ("run", "await call.shared.ledger(call.settings()).enter_seen()", "pass"),
    ("run", "problem = checks.problem_of_url(text)", "problem = None"),
    ("run", "if settings.own_requests < FEWEST_REQUESTS:", "if False:"),
    # Which snapshot, and whether one is taken.
    ("snapshot", "polls_now = not is_first or self.waits_for is not None", "polls_now = False"),
    ("snapshot", "is_first = True\n        self._finished = NOT_FINISHED", "is_first = True"),
    ("snapshot", "self._is_behind = self._is_behind or isinstance(error, SnapshotRunning)", "pass"),
    (
        "snapshot",
        "self.ignore(other)\n            await self.session.clock.sleep(CLEAR.total_seconds())",
        "self.ignore(other)",
    ),
    (
        "snapshot",
        'await ledger.end(other, entry.version or "", holds=CLEAR)',
        'await ledger.end(other, entry.version or "")',
    ),
    ("snapshot", "if await self.reuse.is_candidate_worthless(found):", "if False:"),
    ("snapshot", "if self._is_guard:\n            return set()", "pass"),
    ("snapshot", "return memory.versions(self.database_id, memory.taken) | own", "return own"),
    (
        "snapshot",
        "return memory.versions(self.database_id, memory.taken) | own",
        "return memory.versions(self.database_id, memory.taken)",
    ),
    (
        "snapshot",
        (
            "if attempt.status is Status.FOUND:\n"
            "            return await self._complete_found(attempt)"
        ),
        "pass",
    ),
    ("snapshot", "await self._check_named_version(attempt, claimed)", "pass"),
    (
        "snapshot",
        "named is not None and named.modified is not None and named.modified < oldest",
        "False",
    ),
    ("snapshot", "oldest = attempt.request.posted_at - SKEW", "oldest = attempt.request.posted_at"),
    ("snapshot", "if is_older or version in claimed:", "if is_older:"),
    (
        "snapshot",
        "if why is not None:\n            raise self._unresolved(why, undecided=True)",
        "pass",
    ),
    ("snapshot", "if is_earlier and self.wish.is_mine(each):", "if False:"),
    (
        "snapshot",
        'found = {each.result or "" for each in others if each.has_snapshot}',
        "found = set()",
    ),
    ("snapshot", "self.database_id, memory.seen | memory.taken", "self.database_id, memory.taken"),
    ("snapshot", "self.database_id, memory.seen | memory.taken", "self.database_id, memory.seen"),
    ("snapshot", "is_own = attempt is self.attempt", "is_own = True"),
    ("snapshot", "attempt.result or named", "named"),
    ("snapshot", "is_behind=self._is_behind and is_own", "is_behind=False"),
    ("snapshot", "is_any=self._is_guard and is_own", "is_any=False"),
    (
        "snapshot",
        "why_not_absent(page, attempt.request, claimed, kept_until)",
        "why_not_absent(page, attempt.request, claimed, {})",
    ),
    (
        "listing",
        (
            "return f\"The listing shows what could be this snapshot or another client's: "
            '{listed}."'
        ),
        "return None",
    ),
    ("listing", "return NOT_YET", "return None"),
    ("snapshot", "is_reused = self.is_command and self.is_resumed", "is_reused = False"),
    (
        "snapshot",
        "if self._is_guard and self.reuse.is_too_old(attempt.request.posted_at):",
        "if False:",
    ),
    ("snapshot", "elif await self.reuse.is_worthless(attempt.request.posted_at):", "elif False:"),
    (
        "snapshot",
        "await self.enter_result(version, holds=CLEAR)",
        "await self.enter_result(version)",
    ),
    (
        "snapshot",
        "if not self._is_guard:\n            memory.note_taken({record.id})",
        "memory.note_taken({record.id})",
    ),
    ("snapshot", "(self.is_in_state or is_of_anybody)", "is_of_anybody"),
    (
        "snapshot",
        "elif now - attempt.request.posted_at > timedelta(seconds=self.inputs.timeout):",
        "elif False:",
    ),
    (
        "snapshot",
        "if taken_at is None or is_named or taken_at <= posted_at + LATEST_OF_LOST:",
        "if True:",
    ),
    (
        "snapshot",
        "if not is_answered and self.age < session.poll_plan.settings.first_alone:",
        "if False:",
    ),
    (
        "snapshot",
        "if self._finished.version is not None and not isinstance(cause, LedgerUnavailable):",
        "if self._finished.version is not None:",
    ),
    # What may be used instead.
    ("snapshot", "if each.result not in excluded", ""),
    ("snapshot", "if self._is_young(each)", ""),
    (
        "snapshot",
        "return self.session.ledger.place.is_shared and not candidates",
        "return not candidates",
    ),
    ("snapshot", "if not self.is_guard:\n            return True", "pass"),
    (
        "snapshot",
        "now - self.operation.elapsed - timedelta(seconds=self.inputs.reuse_within)",
        "now - timedelta(seconds=self.inputs.reuse_within)",
    ),
    (
        "snapshot",
        "if newest is None or (self.is_guard and self.is_too_old(newest.taken_at)):",
        "if newest is None:",
    ),
    ("snapshot", "return ended_at >= self._oldest", "return True"),
    (
        "snapshot",
        "seconds=max(self.inputs.timeout, self.inputs.reuse_within)",
        "seconds=self.inputs.reuse_within",
    ),
    (
        "snapshot",
        "seconds=max(self.inputs.timeout, self.inputs.reuse_within)",
        "seconds=self.inputs.timeout",
    ),
    ("snapshot", 'each.origin == "manual"', "True"),
    (
        "snapshot",
        "and posted.get(each.version, each.modified) >= oldest",
        "and each.modified >= oldest",
    ),
    ("snapshot", "and posted.get(each.version, each.modified) >= oldest", ""),
    ("snapshot", "and each.version not in excluded", ""),
    ("snapshot", "last = await self.last_change() or NEVER", "pass"),
    ("snapshot", "max(last, last_restored(attempts, self.inputs.database_id))", "last"),
    (
        "ledger",
        'if (each.kind, each.database_id) == ("restore", database_id)',
        'if each.kind == "restore"',
    ),
    ("ledger", "each.ended_at or each.request.posted_at", "each.request.posted_at"),
    ("snapshot", "return status.in_progress or restored_at > taken_at", "return False"),
    (
        "snapshot",
        "return status.in_progress or restored_at > taken_at",
        "return restored_at > taken_at",
    ),
    ("snapshot", "return if_unknown", "return False"),
    ("snapshot", "candidate.taken_at - SECOND", "candidate.taken_at"),
    # What the engine's calls do with it.
    (
        "snapshot",
        "timedelta(seconds=SERVICE_CACHE) + LATEST_OF_LOST",
        "timedelta(seconds=SERVICE_CACHE)",
    ),
    (
        "snapshot",
        "if now - parse_rfc3339(record.created_at) > timedelta(seconds=after):",
        "if True:",
    ),
    ("snapshot", "call.shared.memory.note_taken({rotated.id})", "pass"),
    ("run", "forced=calls.is_forced", "forced=False"),
    (
        "snapshot",
        'more["not_adopted"] = calls.version',
        "pass",
    ),
    ("snapshot", "return carried.database_id == inputs.database_id", "return True"),
    (
        "snapshot",
        'calls.rotated = record if "created_at" in found.replaces else None',
        "calls.rotated = None",
    ),
    (
        "snapshot",
        'calls.rotated = record if "created_at" in found.replaces else None',
        "calls.rotated = record",
    ),
    ("snapshot", "calls.version = record.version_id", "pass"),
    (
        "run",
        "if new is UNKNOWN:\n        return False",
        "if new is UNKNOWN:\n        return True",
    ),
    ("snapshot", "if created is None or created > now:", "if created is None:"),
    (
        "snapshot",
        "if now - created <= timedelta(seconds=after):",
        "if now - created >= timedelta(seconds=after):",
    ),
    ("snapshot", "elif not page.complete:\n        unreadable", "elif False:\n        unreadable"),
    ("snapshot", "ends > now + URL_RENEWAL", "ends > now"),
    ("snapshot", "ends > now + URL_RENEWAL or not is_later", "ends > now + URL_RENEWAL"),
    ("snapshot", "if not is_pinned(record.download_url, version):\n        return False", "pass"),
    ("snapshot", "if not is_pinned(fresh.download_url, version):", "if False:"),
    ("snapshot", "seen = replace(record, available=False)", "seen = record"),
    (
        "run",
        'return old.partition("/")[0] == new.partition("/")[0] and not is_provisional(new)',
        "return False",
    ),
    # Whether a restore is sent.
    (
        "restore",
        "inputs = replace(inputs, **{name: getattr(earlier, name) for name in names})",
        "pass",
    ),
    ("restore", "self.wish = replace(self.wish, previous=previous)", "pass"),
    ("restore", "if began is not None:\n            happened", "if False:\n            happened"),
    ("restore", "self.ignore(other)\n            return", "return"),
    (
        "restore",
        'await ledger.end(watch.attempt, watch.request.outcome or "", failed=True)',
        'await ledger.end(watch.attempt, watch.request.outcome or "")',
    ),
    ("restore", "await ledger.end(watch.attempt, to_the_second(restored))", "pass"),
    (
        "restore",
        "if inputs.database_id == self.target and inputs.snapshot in memory.taken:",
        "if False:",
    ),
    (
        "restore",
        "if inputs.database_id == self.target and inputs.snapshot in memory.taken:",
        "if inputs.snapshot in memory.taken:",
    ),
    ("restore", "if database is None or database.type in {None, runtime}:", "if True:"),
    ("restore", "until = clock.utc() + LONGEST_WAIT", "until = clock.utc() + timedelta(days=1)"),
    ("restore", "if clock.utc() >= until:", "if False:"),
    ("restore", "return status.in_progress or is_recent", "return status.in_progress"),
    ("restore", "return status.in_progress or is_recent", "return is_recent"),
    ("restore", "return status.started_at if status else None", "return None"),
    (
        "restore",
        (
            "await _answer(session.listings.database_status(database_id, now, patience=BRIEF), "
            "DOWN)"
        ),
        "pass",
    ),
    ("restore", "if not error.passing:\n            raise", "pass"),
    (
        "restore",
        "return None if is_known else began",
        "return None if is_known or began > session.service_clock.now() + APART else began",
    ),
    (
        "restore",
        "is_known = previous is not None and began <= previous + SAME",
        "is_known = previous is not None",
    ),
    (
        "restore",
        "is_known = previous is not None and began <= previous + SAME",
        "is_known = previous is not None and began < previous",
    ),
    ("restore", "return None if is_known else began", "return None"),
    # Whether a restore has happened.
    ("restore", "attempts = await self.known_attempts()", "attempts = []"),
    ("restore", "await self._keep_current()", "pass"),
    (
        "restore",
        "reuses = await _reusable_age(session, database_id, source_time)",
        "reuses = 600.0",
    ),
    ("restore", "self.previous = kept_before(attempts, attempt)", "pass"),
    (
        "restore",
        "if record.failure:\n            raise ResourceNotFinished",
        "if False:\n            raise ResourceNotFinished",
    ),
    (
        "restore",
        "if record.failure:\n            failed = f",
        "if False:\n            failed = f",
    ),
    ("restore", "if self.sent.request.outcome != SUCCESS:", "if False:"),
    (
        "restore",
        "if earlier is not None and earlier.attempt is None:",
        "if False:",
    ),
    (
        "restore",
        (
            "if attempt.status is Status.FOUND:\n"
            '                return self._restored(attempt.result or "")'
        ),
        "pass",
    ),
    ("restore", "if self.is_resumed and attempt.request.outcome is not None:", "if False:"),
    (
        "restore",
        (
            "if error is not watch.refusal:\n"
            "                raise self._unresolved(cause=error) from error"
        ),
        "pass",
    ),
    ("restore", "await self.withdraw()\n            error.done", "error.done"),
    (
        "restore",
        'await self.enter_result(self.sent.request.outcome or "", failed=True)',
        'await self.enter_result(self.sent.request.outcome or "")',
    ),
    ("restore", "if not is_running:", "if False:"),
    ("restore", "if not is_running:", "if True:"),
    ("restore", "elif self.is_in_state or self.is_command:", "elif True:"),
    ("restore", "elif self.is_in_state or self.is_command:", "elif self.is_in_state:"),
    ("restore", "is_done = self.is_command and request.outcome is not None", "is_done = False"),
    ("restore", 'refused.why == "unknown" and age < OUTCOME_KEPT', 'refused.why == "unknown"'),
    (
        "cli/terminal",
        "if age + TO_TYPE < record.attempt.timeout:",
        "if age < record.attempt.timeout:",
    ),
    (
        "restore",
        "split_id(attempt.source or self.inputs.snapshot)",
        "split_id(self.inputs.snapshot)",
    ),
    (
        "restore",
        (
            "if post.began is not None and abs(began - post.began) < SAME:\n"
            "            return True"
        ),
        "pass",
    ),
    (
        "restore",
        "longest = OUTCOME_KEPT if self.request.accepted else self.request.timeout",
        "longest = OUTCOME_KEPT",
    ),
    (
        "restore",
        "if self.is_ours is False or (not self.shown.in_progress and self._age >= longest):",
        "if self.is_ours is False:",
    ),
    (
        "restore",
        "if self.is_ours is False or (not self.shown.in_progress and self._age >= longest):",
        "if not self.shown.in_progress and self._age >= longest:",
    ),
    (
        "restore",
        "self.refusal and not self.shown.in_progress and self._age >= RESTORE_PER_DATABASE",
        "self.refusal and not self.shown.in_progress",
    ),
    ("restore", "if outcome is None and not self.request.accepted:", "if False:"),
    ("restore", "self.attempt = await self.session.ledger.enter(self.attempt)", "pass"),
    (
        "restore",
        "if (is_followed and post.accepted) or (self.is_ours and status.in_progress):",
        "if is_followed and post.accepted:",
    ),
    (
        "restore",
        "if (is_followed and post.accepted) or (self.is_ours and status.in_progress):",
        "if is_followed or (self.is_ours and status.in_progress):",
    ),
    (
        "restore",
        "self._followed_until = attempt.request.followed or attempt.request.posted_at",
        "self._followed_until = attempt.request.posted_at",
    ),
    ("restore", "await self._enter(replace(self.request, followed=self._followed_until))", "pass"),
    ("restore", "if record.failure:\n            failed", "if False:\n            failed"),
    (
        "restore",
        'return Changes(warning=another_snapshot(record) if is_another else "")',
        "return Changes()",
    ),
    ("restore", "is_followed=is_followed)", "is_followed=True)"),
    (
        "restore",
        "began < (post.began or post.posted_at - room) or began == post.previous",
        "began < (post.began or post.posted_at - room)",
    ),
    (
        "restore",
        "return is_followed or (post.began is None and began <= post.posted_at + APART)",
        "return True",
    ),
    ("restore", '"error": status.code or "error"}', '"failed": status.code or "error"}'),
    ("restore", "0.0 if started > self.request.posted_at + SAME else", "0.0 if False else"),
    ("restore", "return self._denials >= DENIALS", "return self._denials >= 1"),
    ("restore", "if database is None or not database.running:", "if database is None:"),
    (
        "restore",
        "if record.failure and earlier is None:\n        raise operation.failure(record)",
        "pass",
    ),
    (
        "restore",
        "return carried.target_database_id == inputs.target and not carried.failure",
        "return not carried.failure",
    ),
    (
        "restore",
        (
            'return ["triggers", "database_id" if new.get("target_database_id") is None else '
            '"target_database_id"]'
        ),
        'return ["triggers"]',
    ),
    ("restore", "if given is True:", "if given:"),
    # What a page says of a request.
    (
        "listing",
        "if is_early or _in_time(page.entries, request, claimed):",
        "if _in_time(page.entries, request, claimed):",
    ),
    (
        "listing",
        "is_early = page.listing.service_time < request.posted_at + request.longest",
        "is_early = page.listing.service_time <= request.posted_at + request.longest",
    ),
    ("listing", "if unclaimed:\n        listed", "if False:\n        listed"),
    (
        "listing",
        "if not page.complete or _lacks_known_version(page, kept_until):",
        "if not page.complete:",
    ),
    (
        "listing",
        "if not page.complete or _lacks_known_version(page, kept_until):",
        "if _lacks_known_version(page, kept_until):",
    ),
    (
        "listing",
        "raise AmbiguousSnapshot(happened, then=[Hint(HintKind.OPEN_VERSION)])",
        "return first",
    ),
    ("listing", "if is_early or _in_time(page.entries, request, claimed):", "if is_early:"),
    (
        "listing",
        "if entry.modified is None or entry.modified >= earliest_time",
        "if entry.modified is not None and entry.modified >= earliest_time",
    ),
    ("listing", "if entry.modified is None or entry.modified >= earliest_time", ""),
    ("listing", "earliest_time = request.posted_at - SKEW", "earliest_time = request.posted_at"),
    (
        "listing",
        'if entry.origin != "automatic" and entry.version not in claimed:',
        "if entry.version not in claimed:",
    ),
    (
        "listing",
        'if entry.origin != "automatic" and entry.version not in claimed:',
        'if entry.origin != "automatic":',
    ),
    (
        "listing",
        'if entry.origin != "automatic" and entry.version not in claimed:',
        'if entry.origin == "manual" and entry.version not in claimed:',
    ),
    (
        "listing",
        "first = request.posted_at - (SECOND if is_behind else SKEW)",
        "first = request.posted_at - SKEW",
    ),
    (
        "listing",
        "first = request.posted_at - (SECOND if is_behind else SKEW)",
        "first = request.posted_at",
    ),
    (
        "listing",
        "last = request.posted_at + (request.longest if request.accepted else LATEST_OF_LOST)",
        "last = request.posted_at + request.longest",
    ),
    (
        "listing",
        "last = request.posted_at + (request.longest if request.accepted else LATEST_OF_LOST)",
        "last = request.posted_at + LATEST_OF_LOST",
    ),
    ("listing", "first <= each[0] <= last", "first < each[0] < last"),
    ("listing", "return sorted(dated, key=itemgetter(0))", "return dated"),
    (
        "listing",
        "if next_time - first_time < MANUAL_SPACING:",
        "if next_time - first_time <= MANUAL_SPACING:",
    ),
    ("listing", "if next_time - first_time < MANUAL_SPACING:", "if False:"),
    ("listing", "soon = page.listing.service_time + LAST_DAY", "soon = page.listing.service_time"),
    (
        "listing",
        "if self.version is not None:\n            return page.version(self.version)",
        "pass",
    ),
    (
        "listing",
        "return sorted(dated, key=itemgetter(0))",
        "return sorted(dated, key=itemgetter(0), reverse=True)",
    ),
    ("listing", "left.total_seconds() + PINNING", "left.total_seconds()"),
    (
        "listing",
        "page.listing.is_own and page.listing.sent_at >= last",
        "page.listing.sent_at >= last",
    ),
    ("listing", "if self._failure is not None:\n            raise self._failure", "pass"),
    (
        "listing",
        "return [each for each in attempts if self._age(each) < SERVICE_CACHE]",
        "return attempts",
    ),
    ("listing", "if lacking and not unlisted:", "if False:"),
    ("listing", "if error.passing or isinstance(error, KeyRefused):", "if error.passing:"),
    # Which page is polled when.
    (
        "listing",
        "return self.mine.is_finished or self.group.most_at_once == 1",
        "return self.group.most_at_once == 1",
    ),
    ("listing", "return self.group.is_refilled and spacing < self.first_late", "return False"),
    (
        "listing",
        "return self.group.is_refilled and spacing < self.first_late",
        "return self.group.is_refilled",
    ),
    (
        "listing",
        "(0.0 if now.mine.is_finished else now.settings.first_alone)",
        "now.settings.first_alone",
    ),
    (
        "listing",
        "return own_late(now) if now.group.posts_to_come else own_usual(now)",
        "return own_usual(now)",
    ),
    (
        "listing",
        "if account_new_at >= late:\n        return now.mine.answered + now.second_chance",
        "if False:\n        return late",
    ),
    ("listing", "return max(late, account_new_at + now.settings.every / 2)", "return late"),
    (
        "listing",
        "return max(unpolled) + now.settings.first_after",
        "return min(unpolled) + now.settings.first_after",
    ),
    (
        "listing",
        "is_in_turn = is_account_old or now.mine.is_in_turn",
        "is_in_turn = now.mine.is_in_turn",
    ),
    (
        "listing",
        "is_in_turn = is_account_old or now.mine.is_in_turn",
        "is_in_turn = is_account_old",
    ),
    ("listing", "(WAITS_FOR_FIRST if is_first_of_both else WAITS)", "WAITS"),
    ("listing", "if now.group.account_is_usable and account <= own", "if account <= own"),
    (
        "listing",
        "return max(due, now.group.account_polled_at + shares * ACCOUNT_LANE.per_account)",
        "return due",
    ),
    ("listing", "growing = max(every, polled_at - mine.own_new_at)", "growing = every"),
    (
        "listing",
        "account_new_at=self.listings.account_new_at or self._account_asked_at",
        "account_new_at=self.listings.account_new_at",
    ),
    ("listing", "if failure is None and is_new:", "if is_new:"),
    # What is fetched, and how complete it is.
    (
        "listing",
        "if failure is not None:\n                raise failure.with_traceback(None)",
        "pass",
    ),
    ("listing", "if at >= self.new_at + EXPIRED:", "if True:"),
    (
        "listing",
        "if is_of_fleet or (spares_own and not await self._is_own_page_spent(database_id)):",
        "if is_of_fleet:",
    ),
    ("listing", "if not page.may_lack_entries:", "if True:"),
    (
        "listing",
        "if spares_own and page.is_empty and await self._is_there(database_id, since):",
        "if spares_own and page.is_empty:",
    ),
    (
        "listing",
        "if spares_own and page.is_empty and await self._is_there(database_id, since):",
        "if False:",
    ),
    ("listing", 'if origin == "automatic":\n            return []', "pass"),
    ("listing", "ages.append(age - POST_READ_TIMEOUT)", "ages.append(age)"),
    ("listing", "ages.append(now - self._sought.get(version_id, now))", "return None"),
    ("listing", "ages.append(now - self._sought.get(version_id, now))", "ages.append(0.0)"),
    ("listing", "if not is_known or _is_out_of_reach(", "if _is_out_of_reach("),
    ("listing", "return error.retry_after or 0.0", "return 0.0"),
    ("listing", "if listing.unreadable:", "if False:"),
    # Whether a change is guarded.
    (
        "guard",
        "if shared.failed is not None:\n                raise",
        "if False:\n                raise",
    ),
    (
        "guard",
        "with suppress(LedgerUnavailable) if shared.is_off else nullcontext():",
        "with suppress(LedgerUnavailable):",
    ),
    ("guard", "with suppress(LedgerUnavailable) if shared.is_off else nullcontext():", "if True:"),
    (
        "guard",
        "await consult(session.ledger, lambda book: book.spent(inputs.database_id))",
        "pass",
    ),
    ("guard", "and abs(now - self.touched_at) < LONGEST_RUN", ""),
    ("guard", "shared.failed = what\n", "pass\n"),
    (
        "guard",
        "raise ChangeNotNoted(change.what, error) from error",
        (
            "shared.changes[guard].clear()\n"
            "                    raise ChangeNotNoted(change.what, error) from error"
        ),
    ),
    ("guard", "newest.taken_at < oldest", "False"),
    ("guard", "if session.stopping or newest is None or", "if newest is None or"),
    ("guard", "asked_for=now - shared.asked_at", "asked_for=now - now"),
    ("guard", "min(asked_for.total_seconds(), inputs.timeout)", "asked_for.total_seconds()"),
    ("guard", 'self.asked_by == run != ""', "self.asked_by == run"),
    (
        "guard",
        "if each.changed_at and each.database_id == database_id]",
        "if each.database_id == database_id]",
    ),
    ("guard", "for each in noted if each.touched_at > self.now - KEPT_FOR]", "for each in noted]"),
    ("guard", "if entry is not None and not happened:", "if False:"),
    (
        "guard",
        "if pinned:\n            snapshot = pinned[0].snapshot",
        "if False:\n            snapshot = pinned[0].snapshot",
    ),
    ("guard", "until if until > self.now else None", "until"),
    (
        "guard",
        "is_wanted = each.guard == guard and each.database_id == database_id",
        "is_wanted = each.guard == guard",
    ),
    ("guard", "last_restored(book.attempts, database_id),", "NEVER,"),
    (
        "guard",
        "return noted if self._ledger.clock.offset is None else self._young(noted)",
        "return self._young(noted)",
    ),
    ("guard", "self._drop_pins(guard, record.database_id, run)", "pass"),
    ("guard", "or each.is_asked_by(run, self.now)", "or True"),
    ("guard", "or each.is_asked_by(run, self.now)", ""),
    ("guard", "if entry.touched_at <= self.now:", "if True:"),
    ("guard", "return IS_NEW", "return None"),
    ("guard", "return GUARDS_DELETES_NOW", "return None"),
    ("guard", "return GUARDS_MORE_NOW", "return None"),
    (
        "guard",
        "raise ChangeHeldBack(change.what, error) from error\n        return record",
        "pass\n        return record",
    ),
    ("guard", "if self.first_up or", "if"),
    ("guard", "and self.before is None and is_new_stack", "and is_new_stack"),
    # What stands before a guard guards, and before its hooks are asked.
    ("program", "if name in self._program.guards:", "if False:"),
    ("program", "if require is not None:", "if False:"),
    ("program", "self._restores.append(args.resource)", "pass"),
    ("program", "self._guarded.append(args.resource)", "pass"),
    ("program", "return not both_known or onto == self._database_id", "return True"),
    ("plugin", "if ALREADY in str(error.details()):", "if False:"),
    (
        "plugin",
        "return not is_guarded or bool(hook.old_options.retain_on_delete)",
        "return not is_guarded",
    ),
    ("plugin", "return not is_guarded or bool(hook.old_options.retain_on_delete)", "return True"),
    ("plugin", "elif reason is not None:", "elif False:"),
    ("plugin", "if engine is not None:", "if False:"),
    ("snapshot", "if await self._later_request(attempt, entry) is not None:", "if False:"),
    ("snapshot", "(posted.get(each.version, each.modified), each)", "(each.modified, each)"),
    # Whether an archive is whole, and whose it is.
    ("archive", "total is not None and self.received > total", "False"),
    ("archive", "return directory.infolist()", "return []"),
    ("archive", "if members and min(each.header_offset for each in members) != 0:", "if False:"),
    ("archive", "self._written_hash.update(block)", "pass"),
    ("archive", "not in {None, (each.CRC, each.file_size)}:", "is False:"),
    ("archive", "if contents and signature not in SIGNATURES:", "if False:"),
    ("archive", "version=inputs.version_id, etag=None", "version=None, etag=None"),
    ("archive", "if served.version is None and not self._is_pinned(self._url):", "if False:"),
    ("archive", "Served(total=inputs.size,", "Served(total=None,"),
    (
        "archive",
        "if digest != manifest.sha256:\n            return None",
        "if False:\n            return None",
    ),
    ("archive", "await self._transfers.blocking(upload.discard)", "pass"),
    ("archive", "is_same = digest == record.sha256", "is_same = True"),
    ("archive", "if digest != manifest.sha256:\n        return f", "if False:\n        return f"),
    ("archive", "if archive.size != manifest.size:", "if False:"),
    ("archive", "if sum(each.file_size for each in members) == 0:", "if False:"),
    (
        "archive",
        "unread = [each for each in members if contents.get(each.header_offset) is None]",
        "unread = []",
    ),
    (
        "archive",
        "return not self.is_encrypted and self.method in READ_METHODS",
        "return self.method in READ_METHODS",
    ),
    ("archive", "good = [each for each in objects if not each.unproved]", "good = list(objects)"),
    (
        "archive",
        "unproved = [each for each in _in_tiers(objects, rule) if each.unproved]",
        "unproved = [each for each in objects if each.unproved]",
    ),
    ("archive", "unproved=self.unproved is not None", "unproved=False"),
    ("archive", "unproved=manifest.unproved is not None", "unproved=False"),
    ("archive", 'return f"is not proved: {unproved}" if unproved else None', "return None"),
    (
        "archive",
        "return Owner(owner_id or secrets.token_hex(8),",
        "return Owner(call.owner or secrets.token_hex(8),",
    ),
    (
        "archive",
        "if other_owners:\n        return Message(",
        "if False:\n        return Message(",
    ),
    (
        "archive",
        "is_pinned = owner_id is not None and manifest.pinned_by(owner_id)\n    return PINNED",
        "is_pinned = False\n    return PINNED",
    ),
    ("archive", "if seen is not None and seen.mark != mark:", "if False:"),
    ("archive", "if claimed is None or claimed.claim != claim:", "if False:"),
    ("archive", "if manifest is None or manifest.without(owner_id):", "if manifest is None:"),
    (
        "archive",
        "removed = store.remove(mark)\n    _remove_claimed(transfers, uri, claim)",
        "_remove_claimed(transfers, uri, claim)\n    removed = store.remove(mark)",
    ),
    (
        "archive",
        "if self._is_same_database(manifest) and not other_owners and not is_pinned:",
        "if self._is_same_database(manifest) and not is_pinned:",
    ),
    (
        "archive",
        "if self._is_same_database(manifest) and not other_owners and not is_pinned:",
        "if self._is_same_database(manifest) and not other_owners:",
    ),
    (
        "archive",
        "if self._is_same_database(manifest) and not other_owners and not is_pinned:",
        "if not other_owners and not is_pinned:",
    ),
    ("archive", "if is_gone or claim != written.claim:", "if is_gone:"),
    ("archive", "same = manifest.version_id == self._inputs.version_id", "same = True"),
    ("archive", "is_unknown = None in {manifest.database_id, wanted}", "is_unknown = True"),
    ("archive", "is_unknown = None in {manifest.database_id, wanted}", "is_unknown = False"),
    ("archive", "return same and self._is_same_database(manifest)", "return same"),
    (
        "archive",
        "is_dead or not (is_claimed and self._may_share(manifest))",
        "is_dead or not is_claimed",
    ),
    ("archive", "is_pinned = not is_same_version and manifest.", "is_pinned = manifest."),
    ("archive", "if is_gone or claim != written.claim:", "if claim != written.claim:"),
    (
        "archive",
        "mark = store.replace(text, manifest_file.mark)",
        "mark = store.write(iter([text])).mark",
    ),
    ("archive", "store.replace(before.text, mark)\n        return", "return"),
    ("archive", "if manifest_file.is_foreign:\n            raise", "if False:\n            raise"),
    ("archive", "or manifest.version_id != record.version_id:", ":"),
    ("archive", "if manifest is None or manifest.snapshot != snapshot:", "if manifest is None:"),
    ("archive", "if successor.owner == record.owner:", "if True:"),
    (
        "archive",
        "if all(each.id != record.owner for each in manifest.owners):",
        "if False:",
    ),
    ("archive", "if self._request.has_written(self.place.uri, seen):\n            return", "pass"),
    ("archive", "self._refuse_unexplained(occupant)", "pass"),
    ("archive", "if self._transfers.store(self.place).stat() != occupant.seen:", "if False:"),
    (
        "archive",
        "is_drilled = manifest is not None and manifest.drill is not None\n            left",
        "is_drilled = False\n            left",
    ),
    ("archive", "if transfers.at(stored.uri).holds(stored.mark):", "if True:"),
    ("archive", "if doubts:\n        listener", "if False:\n        listener"),
    ("archive", "return [*objects[:1], *drilled[:1], *held]", "return [*objects[:1], *held]"),
    ("archive", "return [*objects[:1], *drilled[:1], *held]", "return [*drilled[:1], *held]"),
    ("archive", "if each.pinned or not each.created_at]", "if not each.created_at]"),
    ("archive", "if each.pinned or not each.created_at]", "if each.pinned]"),
    ("archive", "if inputs.keep is None or len(previous.earlier) < TIER_LIMIT:", "if True:"),
    ("archive", "return PINNED if record.pinned else None", "return None"),
    ("archive", "if is_same_object or is_counted:", "if is_same_object:"),
    ("archive", 'return "its database is not known"', "return None"),
    ("archive", "if archive.problem and not archive.is_missing:", "if False:"),
    (
        "archive",
        "if manifest != archive.manifest:",
        "if manifest is None:",
    ),
    ("archive", "if reason is not None or dry_run:", "if reason is not None:"),
    ("archive", "if created_at else None", "if True else None"),
    (
        "archive",
        "if rule is None or coming is None or is_full:",
        "if rule is None or coming is None:",
    ),
    ("archive", "if first != call.owner:", "if False:"),
    (
        "archive",
        'return call.shared.memory.is_replaced(f"{record.database_id}/{record.version_id}")',
        "return False",
    ),
    ("storage", "if (seen.mark if seen else None) != mark:", "if False:"),
    ("storage", "if self._now() >= until:", "if False:"),
    ("storage", "if pieces > 1 and self.stat() != before:", "if False:"),
    ("storage", "if not self.holds(mark):\n            return False", "pass"),
    ("storage", "if self._path.exists() and not self._path.is_file():", "if False:"),
    ("storage", "if (status.st_dev, status.st_ino) in seen:", "if False:"),
    ("storage", "links.append(Path(entry.path))", "pass"),
    ("storage", "os.fsync(file.fileno())\n            seen", "seen"),
    ("storage", "except OSError:  # without locks", "except KeyError:  # without locks"),
    (
        "storage",
        'if "?" in key or "#" in key or (key and odd_segments):',
        'if "?" in key or "#" in key:',
    ),
    ("storage", "if any(PRIVATE in str(key).upper() for key in given):", "if False:"),
    ("storage", 'raise NotDecrypted(f"{name} was not decrypted: it was interrupted")', "pass"),
    ("storage", "if _is_cancelled():", "if False:"),
    ("storage", "if not stat.S_ISREG(os.fstat(part).st_mode):", "if False:"),
    ("storage", "if spells_secret(text):\n            raise", "if False:\n            raise"),
    # What a monitor hears.
    ("hosts", "event not in TROUBLES", 'event == "started"'),
    ("hosts", '"allowed_mentions": {"parse": []}', '"allowed_mentions": {"parse": ["everyone"]}'),
    ("hosts", "html.escape(text, quote=False)", "text"),
    ("hosts", ".strip()[:LONGEST_CHAT]", ".strip()"),
    ("hosts", "is_discord and parts.path.startswith(DISCORD_PATH)", "is_discord"),
    ("hosts", 'host.removeprefix("ptb.").removeprefix("canary.")', "host"),
    ("hosts", "host == SLACK_HOST", "host.startswith(SLACK_HOST)"),
    ("hosts", "event not in PING_PATHS", 'event == ""'),
    ("hosts", 'parts.path.rstrip("/") + PING', "parts.path + PING"),
    ("hosts", "hide_secrets(text))", "text)"),
    ("hosts", "range(MESSAGE_TRIES)", "range(1)"),
    ("hosts", "anyio.fail_after(MESSAGE_SECONDS)", "anyio.fail_after(1000)"),
    ("hosts", "if answer.is_success", "if not answer.is_error"),
    ("hosts", "no answer ({type(error).__name__})", "no answer ({error})"),
    ("hosts", "self._is_new(job, kind or text)", "self._is_new(job, text)"),
    ("hosts", 'self._end(job) if event == "done"', 'True if event == "done"'),
    ("hosts", "if each not in _UNITS]", "]"),
    ("hosts", 'if event == "started"', "if False"),
    ("hosts", "return not file.exists()", "return False"),
    (
        "hosts",
        "except OSError:  # a message each time is better than no message\n            return True",
        "except OSError:\n            return False",
    ),
    ("hosts", "(now - HEARD_FOR)", "(now - 2 * HEARD_FOR)"),
    ("hosts", 'glob(f"{self._digest(job)}-*")', 'glob("*")'),
    ("hosts", 'f"{self.url} {text}"', "text"),
    ("hosts", "os.utime(file, (now.timestamp(), now.timestamp()))", "pass"),
    ("run", "if why and memory.is_first(UNHEARD)", "if why"),
    ("run", "job = call.owner or name", "job = name"),
    ("run", "with suppress(SettingsError):", "if True:"),
    ("run", "report(error), kind)", "report(error))"),
    ("run", 'await _tell(call, Notice("done", job, f"{title}: done"))', "pass"),
    ("run", "end.error if isinstance(end, ResourceNotFinished) else end", "end"),
    (
        "run",
        "except (ProviderError, ResourceNotFinished) as end",
        "except ProviderError as end",
    ),
    ("run", 'return f" of {project}/{stack}"', 'return f" of {project}"'),
    ("hosts", "problem = _wrong_encoding(response)", "problem = None"),
    ("hosts", "problem = _wrong_range(part, offset)", "problem = None"),
    ("hosts", "if difference is not None:\n        return f", "if False:\n        return f"),
    ("hosts", "if served.etag is not None and served.etag == known.etag:", "if True:"),
    (
        "hosts",
        "if served.version is not None and served.version == known.version:",
        "if served.version == known.version:",
    ),
    ("hosts", "return served, 0 if is_part else offset", "return served, 0"),
    ("hosts", "problem_of_url(target) is not None or", ""),
    ("hosts", "urlsplit(target).scheme != urlsplit(url).scheme", "False"),
    ("hosts", 'return f"GET {urlsplit(url).path or \'/\'}"', 'return f"GET {url}"'),
    ("cli/archives", "if not force:\n        raise", "if False:\n        raise"),
    ("cli/archives", "is_local and archive.file.samefile(file)", "False"),
    ("cli/archives", "if each.manifest and each.is_good}", "if each.manifest}"),
    ("cli/archives", "elif not all(each.is_good for each in shelf):", "elif False:"),
    ("cli/archives", "if not any(tiers.values()):", "if False:"),
    ("cli/archives", "dry_run=dry_run,\n        )", "dry_run=False,\n        )"),
    ("cli/archives", 'if inputs.destination.scheme != "file":', "if False:"),
    ("cli/archives", "if not folder.is_dir():", "if False:"),
    ("cli/archives", 'or output.folder or output.scheme != "file":', "or output.folder:"),
    (
        "cli/archives",
        "force=force,\n            )\n            record",
        "force=True,\n            )\n            record",
    ),
    # Whether a drill may overwrite its scratch database.
    ("drill", "resource = uses.user_of(database_id)", "resource = None"),
    (
        "drill",
        "return await consult(ledger, lambda book: _refusal_in(book, database_id))",
        "return None",
    ),
    (
        "drill",
        "return await consult(ledger, lambda book: _refusal_in(book, database_id))",
        (
            "try:\n"
            "        return await consult(ledger, lambda book: _refusal_in(book, database_id))\n"
            "    except Exception:\n        return None"
        ),
    ),
    ("drill", "if is_same_database(entry.database_id, database_id):", "if False:"),
    ("drill", "if until > book.now and _uses(attempt, database_id):", "if False:"),
    (
        "drill",
        "if until > book.now and _uses(attempt, database_id):",
        "if _uses(attempt, database_id):",
    ),
    (
        "drill",
        'if owner_kind(attempt.owner) not in {"resource", "drill", "guard"}:',
        'if owner_kind(attempt.owner) not in {"resource", "drill"}:',
    ),
    (
        "drill",
        'if owner_kind(attempt.owner) not in {"resource", "drill", "guard"}:',
        'if owner_kind(attempt.owner) not in {"drill", "guard"}:',
    ),
    ("drill", 'if owner_kind(attempt.owner) not in {"resource", "drill", "guard"}:', "if False:"),
    (
        "drill",
        "if is_same_database(entry.database_id, database_id):",
        "if entry.database_id == database_id:",
    ),
    ("drill", "if is_same_database(entry.database_id, database_id):", "if False:"),
    (
        "drill",
        "if until > book.now and _uses(attempt, database_id):",
        "if _uses(attempt, database_id):",
    ),
    ("drill", "if attempt.source and is_same_database(", "if False and is_same_database("),
    (
        "drill",
        "return is_same_database(attempt.database_id, database_id) and not is_drill",
        "return is_same_database(attempt.database_id, database_id)",
    ),
    (
        "drill",
        "return is_same_database(attempt.database_id, database_id) and not is_drill",
        "return not is_drill",
    ),
    ("drill", "if in_use is not None:", "if False:"),
    ("drill", "misfit = await self.reach.misfit(runtime)", "misfit = None"),
    ("drill", "before=self._refuse_misuse,", ""),
    (
        "drill",
        "if isinstance(scratch, str) and is_same_database(scratch, database_id):",
        "if False:",
    ),
    (
        "drill",
        (
            "if isinstance(scratch, str) and not is_same_database(scratch, "
            'values.get("database_id")):'
        ),
        "if False:",
    ),
    ("run", "drill = self._drills.get(database_id.lower())", "drill = None"),
    ("run", "return None if resource is None else in_use(resource)", "return None"),
    ("run", "self._users.setdefault(database_id.lower(), resource)", "pass"),
    ("run", "self._drills.setdefault(database_id.lower(), drill)", "pass"),
    (
        "run",
        "call.listener.note(Message(STAYS_AS_IS, id=kept.record.id, then=then))",
        "pass",
    ),
    ("run", "one.lower() == other.lower()", "one == other"),
    ("program", "if other is not None:", "if False:"),
    ("program", "await self._learn_guarded(resource)", "pass"),
    ("program", "self._uses.remember_use(database_id, resource)", "pass"),
    (
        "program",
        (
            "if isinstance(database_id, str):\n"
            "            self._uses.remember_use(database_id, guard)"
        ),
        "if isinstance(database_id, str):\n            pass",
    ),
    ("plugin", "reason = uses.remember_use(self._database_id, guard)", "reason = None"),
    ("cli/assurance", 'if not typed["overwrite_scratch"]:', "if False:"),
    (
        "cli/assurance",
        "return arguments.checked(invocation, DrillInputs, whole)",
        "return DrillInputs.of(whole)",
    ),
    ("cli/assurance", "and each.manifest.snapshot == snapshot", ""),
    # What a report says of a database, and what it does not show.
    ("cli/assurance", "if drill.database_id == self.health.id:", "if True:"),
    (
        "cli/assurance",
        "if good is not None and good.database_id == self.id:",
        "if good is not None:",
    ),
    (
        "cli/assurance",
        "for each in self.archives if each.manifest.database_id == database_id",
        "for each in self.archives",
    ),
    (
        "cli/assurance",
        "[each for each in entries if each.database_id == database_id]",
        "[*entries]",
    ),
    ("cli/assurance", "if each.touched_at >= self.health.evidence.since", ""),
    ("cli/assurance", "if record.target_database_id == self.health.id:", "if True:"),
    ("cli/assurance", "and record.uri not in checked", ""),
    (
        "cli/assurance",
        "if restore.status is Status.FAILED:\n        return restore.result",
        "if restore.status is Status.FAILED:\n        return SUCCESS",
    ),
    (
        "cli/assurance",
        "sorted(filter(self._is_in_period, restores), reverse=True)",
        "sorted(restores, reverse=True)",
    ),
    (
        "cli/assurance",
        "if each is last_good or self._is_in_period(_time_of(each))",
        "if True",
    ),
    (
        "cli/assurance",
        "if each is last_good or self._is_in_period(_time_of(each))",
        "if self._is_in_period(_time_of(each))",
    ),
    ("cli/assurance", "if begin >= now:", "if False:"),
    ("cli/assurance", "URL.sub(HIDDEN_URL, hide_secrets(value))", "hide_secrets(value)"),
    ("cli/assurance", "URL.sub(HIDDEN_URL, hide_secrets(value))", "URL.sub(HIDDEN_URL, value)"),
    ("cli/assurance", '"ok": not problems and all(', '"ok": all('),
    ("cli/assurance", "if each.doubt:\n", "if False:\n"),
    ("cli/assurance", "if not self.session.ledger.place.is_shared:", "if False:"),
    ("cli/assurance", "elif abs(offset) > CLOCK_ROOM:", "elif False:"),
    (
        "cli/assurance",
        'if limits.max_archive_age and not typed["archives"]:',
        "if False:",
    ),
    (
        "cli/assurance",
        "missing = [each for each in stated if each not in noted]",
        "missing = stated",
    ),
    ("cli/assurance", "if not (isinstance(value, Mapping) and SIGNATURE in value)", ""),
    ("cli/assurance", 'or resource.get("delete"):', ":"),
    (
        "cli/assurance",
        "if problem is not None:\n        reason = ",
        "if False:\n        reason = ",
    ),
    (
        "cli/assurance",
        "elif isinstance(value, str) and WITHOUT_ZONE.fullmatch(value):",
        "elif False:",
    ),
    ("cli/assurance", "now = max(times)", "now = times[0]"),
    ("cli/assurance", "now = max(times)", "now = times[1]"),
    ("cli/assurance", "since = min(times) - since", "since = now - since"),
    ("cli/assurance", "if age < -CLOCK_ROOM:", "if False:"),
    (
        "cli/assurance",
        "listed = [each.modified for each in self.listed if each.size != 0]",
        "listed = [each.modified for each in self.listed]",
    ),
    (
        "cli/assurance",
        "if account.databases is not None and self.id not in account.databases:",
        "if False:",
    ),
    (
        "cli/assurance",
        "times = sorted(each for each in taken if each <= now)",
        "times = sorted(taken)",
    ),
    ("cli/assurance", "if each.manifest and each.is_good", "if each.manifest"),
    ("cli/assurance", "may_be_empty=False", "may_be_empty=True"),
    ("cli/assurance", "ends = [*before[-1:], *times", "ends = [*times"),
    (
        "cli/assurance",
        "and self.evidence.now < each.waited_for_until",
        "",
    ),
    (
        "cli/assurance",
        "and (not taken_at or parse_rfc3339(taken_at) < each.request.requested)",
        "",
    ),
    (
        "cli/assurance",
        "if is_own and origin in {None, record.origin}:",
        "if is_own:",
    ),
    (
        "cli/assurance",
        "if self.limits.origin in {None, each.origin}",
        "",
    ),
    ("cli/assurance", 'is_listed = snapshot.partition("/")[2] in versions', "is_listed = True"),
    ("cli/assurance", 'if drills and drills[0]["passed"] is False:', "if False:"),
    ("cli/assurance", "and each.modified < requested", ""),
    ("cli/assurance", "and gap.until != evidence.now", ""),
    ("drill", "if _identity(each) != ended\n            and parse", "if parse"),
    ("drill", 'and parse_rfc3339(each["requested_at"]) > oldest', ""),
    ("drill", "[*earlier, entry][-MOST_DRILLS:]", "[*earlier, entry]"),
    (
        "drill",
        "{name: result[name] for name in RESULT_FIELDS if name in result}",
        "result",
    ),
    ("drill", "replace(record, last_good=None, attempt=None)", "replace(record, attempt=None)"),
    ("drill", "for each in by_database.get(record.database_id, ())", "for each in ()"),
    ("listing", "return ends is not None and ends - now <= PLAN_NOTICE", "return ends is not None"),
    ("listing", 'if ends <= now:\n        return f"ended', 'if False:\n        return f"ended'),
    # Whether its connection leads there.
    (
        "drill",
        'wrong_engine = engine_misfit(connection, values.get("runtime"))',
        "wrong_engine = None",
    ),
    (
        "drill",
        "misfit = wrong_engine or ServerAddress.of(connection).misfit(scratch_id)",
        "misfit = wrong_engine",
    ),
    ("drill", "if any(not own.startswith(wanted) for own in self.databases):", "if False:"),
    (
        "drill",
        "if any(server.database_id and server.port != port for server in self.servers):",
        "if False:",
    ),
    (
        "drill",
        "return self.is_direct and all(server.database_id == own for server in self.servers)",
        "return all(server.database_id == own for server in self.servers)",
    ),
    (
        "drill",
        "return self.is_direct and all(server.database_id == own for server in self.servers)",
        "return self.is_direct and any(server.database_id == own for server in self.servers)",
    ),
    ("drill", 'if host:\n        hosts = host.split(",")', "pass"),
    (
        "drill",
        "is_direct = not looked_up and not REDIRECTING & parameters.keys()",
        "is_direct = not looked_up",
    ),
    (
        "drill",
        "is_direct = not looked_up and not REDIRECTING & parameters.keys()",
        "is_direct = not REDIRECTING & parameters.keys()",
    ),
    ("drill", "own = OWN_HOST.fullmatch(self.host)", "own = OWN_HOST.match(self.host)"),
    (
        "drill",
        "reason = engine_misfit(connection, runtime) or address.misfit(scratch, port)",
        "reason = address.misfit(scratch, port)",
    ),
    (
        "drill",
        "reason = engine_misfit(connection, runtime) or address.misfit(scratch, port)",
        "reason = engine_misfit(connection, runtime)",
    ),
    ("drill", "port = database.port\n        address", "port = None\n        address"),
    (
        "drill",
        "if _passes(error):\n                    return None",
        "if True:\n                    return None",
    ),
    ("drill", "if self.kind not in CONNECTION_FORMS or self.port is None:", "if False:"),
    ("drill", "if missing is not None:\n            raise ProvesNothing(str(missing))", "pass"),
    ("drill", "os.fchmod(file.fileno(), 0o600)", "os.fchmod(file.fileno(), 0o644)"),
    (
        "drill",
        (
            "# The restore may have moved the database: the next try asks again.\n"
            "                self.port = None"
        ),
        "pass",
    ),
    ("drill", "if not self.reach.is_own:", "if False:"),
    # Whether it proves anything.
    ("drill", "if started.at is not None and started.at < requested:", "if False:"),
    ("drill", "self._refuse_another(started.at, server_started)", "pass"),
    ("drill", "is_older = server_started < started - STARTS_APART", "is_older = False"),
    (
        "drill",
        "is_newer = server_started > started + STARTS_APART and not self.is_own",
        "is_newer = False",
    ),
    (
        "drill",
        "is_newer = server_started > started + STARTS_APART and not self.is_own",
        "is_newer = server_started > started + STARTS_APART",
    ),
    ("drill", "if started.with_server:", "if False:"),
    ("drill", "if server_started >= requested:", "if True:"),
    ("drill", "proved_by = [ADDRESS] if self.is_own else []", "proved_by = [ADDRESS]"),
    ("drill", "if is_new or is_last:", "if True:"),
    ("drill", "if not is_last:\n                return None", "pass"),
    ("drill", "raise ProvesNothing(NOT_RUNNING)", "return Started(None, with_server=False)"),
    (
        "drill",
        "passed = bool(results) and all(each.passed for each in results)",
        "passed = all(each.passed for each in results)",
    ),
    (
        "drill",
        "passed = bool(results) and all(each.passed for each in results)",
        "passed = bool(results)",
    ),
    (
        "drill",
        "if not record.passed:\n            raise DrillFailed",
        "if False:\n            raise DrillFailed",
    ),
    (
        "drill",
        "if not _is_settled(record, values):\n                raise ResourceNotFinished",
        "if False:\n                raise ResourceNotFinished",
    ),
    ("drill", "return same_scratch and not record.failed_to_restore", "return same_scratch"),
    (
        "drill",
        "return same_scratch and not record.failed_to_restore",
        "return not record.failed_to_restore",
    ),
    (
        "drill",
        "was_judged = record.passed is False and record.failure is None",
        "was_judged = record.passed is False",
    ),
    ("drill", "patience = MAY_RUN if record.pending else timedelta()", "patience = timedelta()"),
    (
        "drill",
        "return self.restored_at is None and self.failure is not None",
        "return self.failure is not None",
    ),
    ("drill", 'return ["drill", snapshot, triggers or []]', 'return ["drill", triggers or []]'),
    (
        "drill",
        "key=lambda good: (not _is_later(good, record), good.drilled_at)",
        "key=lambda good: good.drilled_at",
    ),
    (
        "drill",
        "key=lambda good: (not _is_later(good, record), good.drilled_at)",
        "key=lambda good: not _is_later(good, record)",
    ),
    ("drill", "rows=each.rows, before=each.before)", "rows=each.rows)"),
    ("drill", "if self.restored is None:", "if False:"),
    ("drill", "if drilled_at <= drilled.drilled_at or drilled_at > now:", "if True:"),
    (
        "drill",
        "if drilled_at <= drilled.drilled_at or drilled_at > now:",
        "if drilled_at <= drilled.drilled_at:",
    ),
    ("drill", "if not self.except_:\n            counts", "if True:\n            counts"),
    ("drill", 'if each.host.strip("[]") in LOOPBACK', "if False"),
    ("drill", "for result in results or ():", "for result in (results or ())[:1]:"),
    ("drill", '("requested_at", "scratch_database_id", "passed")', '("requested_at",)'),
    ("drill", '("requested_at", "scratch_database_id", "passed")', '("requested_at", "passed")'),
    ("cli/assurance", "if not any(_is_same_drill(drill, other) for other in drills):", "if True:"),
    (
        "cli/assurance",
        '("version_id", "scratch_database_id", "passed")',
        '("version_id", "passed")',
    ),
    ("cli/assurance", '("version_id", "scratch_database_id", "passed")', '("version_id",)'),
    (
        "cli/assurance",
        'if any(each["expected"] == NOT_COMPARED',
        'if results and all(each["expected"] == NOT_COMPARED',
    ),
    # What rows prove: never less than before, never nothing, never what could not be counted.
    (
        "drill",
        "elif before is not None and rows is not None and rows < before * self.at_least:",
        "elif False:",
    ),
    ("drill", "elif before is not None and rows is None:", "elif False:"),
    (
        "drill",
        "if count.problem is not None:\n            problem",
        "if False:\n            problem",
    ),
    ("drill", "if not self.is_left_out(name)", "if False"),
    (
        "drill",
        "if any(each.rows for each in tables):\n        return problems",
        "if True:\n        return problems",
    ),
    ("drill", "each.table: each.before if is_same else each.rows", "each.table: each.rows"),
    ("drill", "if rows and good.database_id == record.database_id:", "if rows:"),
    (
        "drill",
        (
            "is_same = (good.version_id, good.drilled_at) == (record.version_id, "
            "record.restored_at)"
        ),
        "is_same = False",
    ),
    (
        "drill",
        "counts = await database.count(tables.is_left_out, refuse_writes=True)",
        "counts = await database.count(tables.is_left_out, refuse_writes=False)",
    ),
    ("drill", "if isinstance(connection, str) and is_same_place(source, connection):", "if False:"),
    ("drill", "if not any(rows.values()):", "if False:"),
    (
        "drill",
        "for count in counts:\n            if count.problem is not None:",
        "for count in ():\n            if count.problem is not None:",
    ),
    (
        "drill",
        "patience = BELIEVED_AFTER if error.lasting else START_PATIENCE",
        "patience = START_PATIENCE",
    ),
    # Whether another restore came between.
    ("drill", "holds=HOLDS,", ""),
    ("drill", "async with self._held(restoring.sent):", "if True:"),
    (
        "drill",
        "async with self.lock:\n            await restoring.ensure_sent()",
        "if True:\n            await restoring.ensure_sent()",
    ),
    (
        "drill",
        "if await self._is_overtaken(record):\n                happened",
        "if False:\n                happened",
    ),
    (
        "drill",
        'if await self._is_overtaken(record):\n            return "the',
        'if False:\n            return "the',
    ),
    ("drill", "if status.uptime and status.uptime > restored + STARTS_APART:", "if False:"),
    ("drill", "return _silence(status) if must_be_sure else None", "return None"),
    ("drill", "return unknown if must_be_sure else None", "return None"),
    (
        "drill",
        "if has_passed:\n                        obstacle",
        "if False:\n                        obstacle",
    ),
    (
        "drill",
        "obstacle = obstacle or await self._obstacle(record, must_be_sure=has_passed)",
        "pass",
    ),
    ("drill", "if later:\n            return True", "pass"),
    ("drill", "return isinstance(error, RestoreRunning)", "return False"),
    ("drill", "if status.in_progress:\n            return True", "pass"),
    ("drill", "status.started_at is not None and status.started_at > ended + SAME", "False"),
    # What a check may do, and what of a connection may be shown.
    ("databases", "self._connection.read_only = True", "self._connection.read_only = False"),
    (
        "databases",
        "rows = cursor.stream(command.encode())",
        "rows = cursor.execute(command.encode())",
    ),
    ("databases", "cursor.execute(PREPARE_POSTGRES, (self._milliseconds,))", "pass"),
    ("databases", "if word is None or word[1].upper() not in READING:", "if False:"),
    ("databases", "if INTO_FILE.search(command):", "if False:"),
    (
        "databases",
        'cursor.execute("START TRANSACTION READ ONLY")\n            cursor.execute(command)',
        "cursor.execute(command)",
    ),
    ("databases", "self._connection.execute(PREPARE_COUNT, (str(milliseconds),))", "pass"),
    ("databases", "if len(tables) > MOST_TABLES:", "if False:"),
    ("databases", "if connection.is_lost(error):\n            raise", "pass"),
    ("databases", "connection.writes() != writes:", "connection.writes() is None:"),
    ("databases", "max(self._most_documents, objects)", "0"),
    (
        "databases",
        'listed["name"]: listed.get("info", {}).get("uuid")',
        'listed["name"]: None',
    ),
    ("databases", "if table.size > connection.counted_up_to or seconds <= 0:", "if seconds <= 0:"),
    (
        "databases",
        "return TableCount(table.name, rows, is_estimate=True)",
        "return TableCount(table.name, rows)",
    ),
    ("databases", "refuse_writes and connection.writes() != writes", "False"),
    ("databases", "if len(counts) > MOST_PREFIXES:", "if False:"),
    ("databases", 'if mode in {"PREFERRED", "REQUIRED"}:', "if True:"),
    (
        "databases",
        'context.check_hostname = mode == "VERIFY_IDENTITY"',
        "context.check_hostname = False",
    ),
    ("databases", "if mode not in MODES:", "if False:"),
    ("databases", "if name not in COMMANDS:", "if False:"),
    ("databases", "if any(f'\"{stage}\": ' in written for stage in WRITING):", "if False:"),
    ("databases", "if not isinstance(pipeline, list):", "if False:"),
    ("databases", 'if b"readonly" not in self._flags(words):', "if False:"),
    ("databases", "if isinstance(each, list) and each[0] == subcommand:", "if False:"),
    ("databases", "if command is None:", "if False:"),
    ("databases", 'if engine.needs_database and not parts.path.strip("/"):', "if False:"),
    ("databases", 'if "@" in f"{parts.path}{parts.query}{parts.fragment}":', "if False:"),
    ("databases", "if strange:", "if False:"),
    ("databases", "raise unescaped from None", "raise"),
    (
        "databases",
        "return shown_message(self._dsn, library_message(error))",
        "return library_message(error)",
    ),
    (
        "databases",
        "failed = self._explained(error, is_connected=is_connected)",
        "raise self._explained(error, is_connected=is_connected) from error",
    ),
    ("databases", "text = hide_word(text, secret)", "pass"),
    (
        "databases",
        'for place in sorted(places - {""}, key=len, reverse=True):',
        "for place in ():",
    ),
    (
        "databases",
        "secrets |= {login_part, password, unquote(password)}",
        "secrets |= {login_part, password}",
    ),
    ("databases", "secrets |= {login_part, password, unquote(password)}", "pass"),
    ("databases", "secrets |= {value, *value.splitlines()}", "secrets |= {value}"),
    (
        "databases",
        'if re.search("pass|secret", name.lower()):',
        'if re.search("pass", name.lower()):',
    ),
    ("databases", 'if name.endswith("password"):', 'if name == "password":'),
    ("databases", 'for at in re.finditer("@", rest):', 'for at in [*re.finditer("@", rest)][:1]:'),
    ("databases", "line if len(line) <= LONGEST_SHOWN else", "line if True else"),
    ("databases", "if not math.isfinite(value):", "if False:"),
    ("databases", "if len(elements) == 1:", "if elements:"),
    ("databases", "if len(row) != 1:", "if False:"),
    (
        "databases",
        "is_connected = is_late(error) or not session.is_lost(error)",
        "is_connected = True",
    ),
    ("databases", "lasting = bool(LASTING.search(reason))", "lasting = False"),
    ("databases", "daemon=True", "daemon=False"),
    ("databases", 'if b"readonly" not in self._flags(words):', "if False:"),
    ("databases", "return each[FLAGS]", "return command[FLAGS]"),
    ("databases", "if len(counts) > MOST_PREFIXES:", "if False:"),
    ("databases", "if keys <= MOST_KEYS else None", ""),
    (
        "databases",
        'if system_monotonic() > until:\n                raise Refused(f"the keys',
        'if False:\n                raise Refused(f"the keys',
    ),
    ("databases", 'return {f"db{self._connection.db}": self._send("DBSIZE")}', "return {}"),
    (
        "databases",
        "by_name[_shown(prefix)] += keys",
        "by_name[_shown(prefix)] = keys",
    ),
    # What the plugin hands to the engine, and takes from it.
    (
        "plugin",
        "return is_short_text and not looks_secret(value.string_value)",
        "return is_short_text",
    ),
    ("plugin", "if plain(given) is not None and not is_secret(given):", "if False:"),
    ("plugin", "if each is not None and each.secret:", "if False:"),
    (
        "plugin",
        "is_repeated = wire not in printed and not holds_secret(value)",
        "is_repeated = True",
    ),
    (
        "plugin",
        "if not self._engine_can:\n            await _fail(context, TOO_OLD)",
        "if False:\n            await _fail(context, TOO_OLD)",
    ),
    (
        "plugin",
        "if UNKNOWN in values.values() or not self._is_configured:\n            answer",
        "if UNKNOWN in values.values():\n            answer",
    ),
    (
        "plugin",
        "refuse_unusable(kind.schema, state)\n            await kind.rules.delete",
        "await kind.rules.delete",
    ),
    (
        "plugin",
        (
            "if request.preview:\n"
            "            return provider_pb2.CreateResponse(properties=_foreseen(kind, "
            "request.properties))"
        ),
        "pass",
    ),
    (
        "plugin",
        "if peer not in self._connections:\n            await context.abort(",
        "if False:\n            await context.abort(",
    ),
    ("plugin", "if connection.is_over and not connection.calls:", "if connection.is_over:"),
    ("plugin", "if connection.is_over and not connection.calls:", "if False:"),
    (
        "plugin",
        'if self._is_alone:\n            refusal = f"This {kind.name} cannot be deleted',
        'if False:\n            refusal = f"This {kind.name} cannot be deleted',
    ),
    ("plugin", "not is_guarded or bool(hook.old_options.retain_on_delete)", "not is_guarded"),
    ("plugin", "not is_guarded or bool(hook.old_options.retain_on_delete)", "True"),
    ("plugin", "if ALREADY in str(error.details()):", "if False:"),
    # What the dynamic provider does.
    (
        "dynamic",
        "if isinstance(value, str) and not looks_secret(value)",
        "if isinstance(value, str)",
    ),
    ("dynamic", "for name in self.rules.schema.secrets\n", "for name in ()\n"),
    ("dynamic", "    gc.disable()\n", ""),
    ("dynamic", "return _server_state().", "return _find_server_state()."),
    ("dynamic", "self._settings = cache(partial(", "self._settings = (partial("),
    ("dynamic", "FirstUse(_start_event_loop)", "_start_event_loop"),
    (
        "dynamic",
        "refuse_unusable(self.rules.schema, state)\n            _carry_out(",
        "_carry_out(",
    ),
    ("dynamic", "refuse_unusable(self.rules.schema, olds)\n            changes", "changes"),
    (
        "dynamic",
        (
            "properties.fields[_PROVIDER_KEY].CopyFrom(\n"
            "                next(each[_PROVIDER_KEY] for each in sent if _PROVIDER_KEY in each)\n"
            "            )"
        ),
        "pass",
    ),
    (
        "dynamic",
        'if database_id is None and self._settings.guard == "off":',
        "if database_id is None:",
    ),
    (
        "dynamic",
        'if change == "delete" and self._state is not None:',
        "if self._state is not None:",
    ),
    ("dynamic", "if self._known.done() else earlier", "if self._known.done() else None"),
    ("engine", "if newest is not None and not newest.done():", "if False:"),
    (
        "engine",
        "if not rules.schema.is_found_by_id or is_provisional(id_):\n                raise",
        "pass",
    ),
    (
        "engine",
        "if problem is not None:\n        raise UnusableState(",
        "if False:\n        raise UnusableState(",
    ),
    (
        "drill",
        "if seconds > self.inputs.timeout:\n            return record",
        "if False:\n            return record",
    ),
    ("storage", "if part.exists() and not is_refused:", "if part.exists():"),
    ("plugin", 'if "delete" not in self._inputs.changes:', "if False:"),
    (
        "run",
        '"another run" if self.wish.is_new_since(other) else "an earlier run"',
        '"an earlier run"',
    ),
    (
        "run",
        '"another run" if self.wish.is_new_since(other) else "an earlier run"',
        '"another run"',
    ),
    ("program", "if given_instead and snapshot is not None:", "if False:"),
    ("archive", "manifest is None or manifest.claim != claim:", "False:"),
    ("archive", "if successor.owner == record.owner:", "if False:"),
    ("storage", "is_wanted = stat.S_ISREG(status.st_mode) and (", "is_wanted = ("),
    ("databases", 'original = getattr(error, "original_exception", None)', "original = None"),
    ("databases", 'elif name in {"host", "hostaddr", "user"}:', 'elif name in {"host", "user"}:'),
    ("plugin", "once.whole.add(self._owner)", "pass"),
    ("dynamic", "once.whole.add(self._owner)", "pass"),
    (
        "dynamic",
        "self._state.guardable if self._state is not None else None",
        "self._state.guardable if self._state is not None else ()",
    ),
    (
        "program",
        'if pulumi.Config("squarecloud").get(name) and not is_secret:',
        'if pulumi.Config("squarecloud").get(name):',
    ),
    (
        "program",
        "keeps = bool(pin) and not pulumi.runtime.is_dry_run()",
        "keeps = bool(pin)",
    ),
    # What the command line shows, and what it sends.
    ("cli/terminal", "shown = shown_variable(name)", "shown = name"),
    (
        "cli/terminal",
        "text = hide_secrets(self._with_shortened_ids(text))",
        "text = self._with_shortened_ids(text)",
    ),
    (
        "cli/terminal",
        'is_enough = self.what == "database" or len(self.typed) >= SHORTEST_PART',
        "is_enough = True",
    ),
    (
        "cli/terminal",
        "return self.fitting[0] if is_enough and len(self.fitting) == 1 else None",
        "return self.fitting[0] if is_enough and self.fitting else None",
    ),
    ("cli/terminal", 'if typed.get("urls") and not json:', "if False:"),
    ("cli/terminal", "if spells_secret(typed):", "if False:"),
    ("cli/terminal", 'if re.fullmatch(r"[\\d.]*[1-9][\\d.]*", typed):', "if False:"),
    ("cli/snapshots", "if not (confirmed or dry_run or can_ask):", "if False:"),
    (
        "cli/snapshots",
        "if not (confirmed or dry_run):\n            await _confirm(",
        "if False:\n            await _confirm(",
    ),
    (
        "cli/snapshots",
        "if not typed or typed not in {database.name, inputs.target}:",
        "if not typed:",
    ),
    ("cli/snapshots", 'if typed["version_id"] == LATEST:', "if False:"),
    ("cli/snapshots", 'or not is_pinned(download_url, record.version_id or "")', ""),
    ("cli/snapshots", "if restore_on_failure and not yes:", "if False:"),
    ("cli/snapshots", "self._invocation.ways_back.append(", "str("),
    ("cli/snapshots", "if invocation.has_failed and restore_on_failure:", "if restore_on_failure:"),
    ("cli/snapshots", "invocation.failure_code = NOT_RUN", "pass"),
    ("cli/snapshots", "invocation.failure_code = code", "pass"),
    ("cli/snapshots", "if not self._is_off:\n                raise", "pass"),
    ("cli/snapshots", "self._held.append(error)\n            self._session.stop()", "pass"),
    ("cli/snapshots", "if self._session.stopping and not self._held:", "if False:"),
    ("cli/snapshots", "name = Path(words[0]).name", 'name = " ".join(words)'),
    (
        "cli/snapshots",
        "if not keep_key:\n            environment = without_key(environment)",
        "pass",
    ),
    (
        "cli/snapshots",
        "with invocation.working(self._session):",
        "if True:",
    ),
    (
        "cli/snapshots",
        'name, is_assignment, _ = words[0].partition("=")',
        'name, is_assignment, _ = words[0], "=", ""',
    ),
    ("cli/setup", "if len(set(ids)) < len(ids):", "if False:"),
    ("cli/setup", "elif not invocation.stdin.isatty():", "elif False:"),
    # What a value may be, and what is shown of it.
    (
        "properties",
        "if isinstance(value, str) and looks_secret(value):\n        return",
        "if False:\n        return",
    ),
    ("properties", "if _ID.fullmatch(database) is None:", "if False:"),
    ("properties", 'if parts.scheme == "http" and host not in LOOPBACK:', "if False:"),
    ("properties", 'if "@" in parts.netloc:', "if False:"),
    ("properties", "if size > TRIGGERS_LIMIT:", "if False:"),
    ("properties", "if seconds > most:", "if False:"),
    ("properties", "if seconds == 0 and not may_be_zero:", "if False:"),
    ("properties", "elif value is FILE:\n        raise", "elif False:\n        raise"),
    (
        "properties",
        "is_always_there = each.required and each.kept and not each.optional",
        "is_always_there = False",
    ),
    (
        "properties",
        'if not isinstance(value, Mapping):\n        return "must be an object"',
        'if False:\n        return "must be an object"',
    ),
    ("errors", "return text.replace(secret, HIDDEN)", "return text"),
    (
        "errors",
        "is_usual = _VARIABLE.fullmatch(name) and not looks_secret(name)",
        "is_usual = not looks_secret(name)",
    ),
    ("errors", "file.write(hide_secrets(text).encode(", "file.write(text.encode("),
    ("errors", "if isinstance(words, AnsweredMessage) and not self.shows_answers:", "if False:"),
    (
        "service",
        "AnsweredMessage(explanation, self.answer) if self.answer else explanation",
        "explanation",
    ),
    ("service", "if isinstance(error, ActionFailed):\n        return True", "pass"),
    (
        "service",
        "explanation = Message(template, explanation=explanation, until=until)",
        "pass",
    ),
    # What is refused, waited for or left alone where people type, and beside a guard.
    (
        "archive",
        "is_explained = occupant.manifest is not None and self._request.manifest",
        "is_explained = occupant.manifest is not None",
    ),
    ("program", "if database_id is not None:  # A preview", "if True:  # A preview"),
    ("cli/archives", 'or output.scheme != "file":', "or False:"),
    ("cli/archives", "archive.folder or output.folder or", "archive.folder or"),
    ("cli/archives", "archive.folder or output.folder or", "output.folder or"),
    (
        "cli/archives",
        "yield from blocks\n        _refuse_to_overwrite(archive, output, force=force)",
        "yield from blocks",
    ),
    ("cli/archives", 'if inputs.destination.scheme != "file":', "if False:"),
    ("cli/archives", "if not folder.is_dir():", "if False:"),
    ("cli/archives", "any(each.failed for each in verdicts)", "False"),
    ("cli/snapshots", 'if typed["version_id"] == LATEST:', "if False:"),
    (
        "cli/snapshots",
        "if not typed or typed not in {database.name, inputs.target}:",
        "if not typed:",
    ),
    (
        "cli/snapshots",
        "can_ask = invocation.stdin.isatty() and invocation.err.isatty()",
        "can_ask = invocation.stdin.isatty()",
    ),
    ("cli/assurance", 'if not typed["overwrite_scratch"]:', "if False:"),
    ("storage", "if self._is_folder():", "if False:"),
    (
        "storage",
        '"create" if mark is None else mark',
        '"overwrite" if mark is None else mark',
    ),
    ("storage", 'if status and "NoSuchUpload" not in text:', "if status:"),
    ("storage", "if is_named:\n        lacks", "if False:\n        lacks"),
    ("storage", 'parts.netloc not in {"", "localhost"}', "False"),
    (
        "dynamic",
        "patience = 0.0 if earlier is not None or is_off else KNOWN_WITHIN",
        "patience = 0.0 if is_off else KNOWN_WITHIN",
    ),
    (
        "dynamic",
        "patience = 0.0 if earlier is not None or is_off else KNOWN_WITHIN",
        "patience = 0.0 if earlier is not None else KNOWN_WITHIN",
    ),
    ("dynamic", "elif reason is not None and database_id is not None:", "elif False:"),
    ("dynamic", "self._preview.in_state = self._state.guardable", "pass"),
    ("dynamic", "if change not in self._changes:", "if False:"),
    ("program", "if self._is_on(args.opts) or not is_picked:", "if not is_picked:"),
    (
        "program",
        "if not pin or last is None:\n            return last",
        "if True:\n            return last",
    ),
    (
        "program",
        "if not pin or last is None:\n            return last",
        "if last is None:\n            return last",
    ),
    (
        "program",
        "if is_custom:\n            self._guarded.append",
        "if True:\n            self._guarded.append",
    ),
    (
        "plugin",
        "for urn in {*resource.options.depends_on} - own:",
        "for urn in {*resource.options.depends_on}:",
    ),
    ("plugin", "keeps = bool(pin) and not self._request.dryRun", "keeps = bool(pin)"),
    (
        "plugin",
        "if resource.type in SNAPSHOT_TYPES and self._sees_in_preview(resource):",
        "if resource.type in SNAPSHOT_TYPES:",
    ),
    ("plugin", "return is_own and not self._is_whole", "return is_own"),
    ("plugin", "if pin and known.last is not None:", "if False:"),
    ("plugin", 'if request.type != token("Guard"):', "if False:"),
    ("archive", "if seen is not None and seen.size != self.size:", "if False:"),
    # What an import holds, and what is shown of a word that may be a password.
    ("archive", "each.until is None or each.name != owner.name", "each.until is None"),
    (
        "archive",
        "if each.until is None or parse_rfc3339(each.until) > now",
        "if each.until is None",
    ),
    ("plugin", "request.news == request.olds and not self._is_alone", "not self._is_alone"),
    (
        "plugin",
        "request.news == request.olds and not self._is_alone",
        "request.news == request.olds",
    ),
    ("storage", " and not file.suffix", ""),
    ("cli/snapshots", "snapshot, unlisted=True)\n    taken", "snapshot)\n    taken"),
    # What is only a little wrong: a second, a hundredth check, a word too many.
    ("drill", "parse_rfc3339(record.requested_at) - SLACK", "parse_rfc3339(record.requested_at)"),
    ("drill", "if len(given) > MOST_CHECKS:", "if len(given) >= MOST_CHECKS:"),
    ("databases", "tables.sort(key=lambda table: table.size)", "pass"),
    ("databases", "is_late(error) and not connection.is_lost(error)", "is_late(error)"),
    (
        "archive",
        "present is not None and present.version_id == record.version_id",
        "present is not None",
    ),
    ("archive", "if record.lost is None and is_known:", "if is_known:"),
    ("plugin", 'request.protect if request.HasField("protect") else None', "asked.protect"),
    ("plugin", "self._unmet -= met", "pass"),
    (
        "dynamic",
        "if not self._send_details(text, lambda: detail) and not shows_traceback():",
        "if not self._send_details(text, lambda: detail):",
    ),
    ("dynamic", ' if name.startswith("pulumi.") else None', ""),
    ("dynamic", "isinstance(self._database_id, str) and not self._has_learned", "True"),
    ("program", " or not name.strip()", ""),
    (
        "cli/snapshots",
        "if not self._is_off:\n            await self._show_unfinished()",
        "await self._show_unfinished()",
    ),
    # What was not noticed once: importers, slow stores, edited states, and what a guard asks.
    (
        "archive",
        "if manifest is None or owner not in manifest.owners:",
        "if False:",
    ),
    ("archive", "if not silence.status:\n                raise", "raise"),
    ("properties", "None if fits(value) else", "None if True else"),
    (
        "properties",
        'if not isinstance(value, list | tuple):\n        return "must',
        'if False:\n        return "must',
    ),
    ("engine", "state = inputs_in(rules.schema, state)", "pass"),
    ("engine", "is None:\n            break", "is None:\n            continue"),
    ("engine", "for urn in sorted(listed):", "for urn in listed:"),
    (
        "engine",
        'if _field(resource, "type").string_value != GUARD_TYPE:',
        "if False:",
    ),
    (
        "dynamic",
        "await registered\n            await self._ready",
        "await registered",
    ),
    ("cli/setup", "if word == DEGRADED:", "if False:"),
    ("cli/setup", "and not name.startswith(EMULATOR_VARIABLES)", ""),
    ("guard", "if isinstance(why, (*NONE_NOW, SnapshotFailed)):", "if False:"),
    (
        "guard",
        "if isinstance(why, (*NONE_NOW, SnapshotFailed)):",
        "if isinstance(why, NONE_NOW):",
    ),
    (
        "guard",
        "if record is not None and record.version_id is not None:",
        "if record is not None:",
    ),
    (
        "plugin",
        "[*filter(self._leaves_hook, self._inputs.changes)]",
        "[*self._inputs.changes]",
    ),
)  # fmt: skip
"""Of each the room (`.` is the whole package), a text of it that is there once, and what a tired
colleague might have written.
"""


def main(rooms: list[str]) -> int:
    """Make the mistakes one by one, and say of each whether a test has noticed it."""
    if unknown := set(rooms) - TESTS.keys():
        print(
            f"there is no {', '.join(unknown)}; there are {', '.join(TESTS)}",
            file=sys.stderr,
        )
        return 2
    wanted = rooms or list(TESTS)
    folders = list(
        dict.fromkeys(f"tests/{each}" for room in wanted for each in TESTS[room])
    )
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-mistakes-") as name:
        copy = Path(name) / "copy"
        shutil.copytree(
            PROJECT,
            copy,
            symlinks=True,
            ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "dist"),
        )
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        os.environ["PYTHONPATH"] = str(copy)
        with silent():
            pytest.main([*QUIET, "--collect-only", *folders])
        if not all(leave_out_failing(tests) for tests in folders):
            return 2
        for room, text, instead in rows_of(wanted):
            about = f"{room}: {text!r} -> {instead!r}"
            end, by = tried(room, text, instead, noticed().get(about))
            ends[end] += 1
            print(f"{end:9} {about} {by}", flush=True)
            if by:
                note(about, by)
        os.chdir(PROJECT)
    print(", ".join(f"{count} {end}" for end, count in sorted(ends.items())))
    return exit_code(ends)


def leave_out_failing(tests: str) -> bool:
    """Leave out the tests of a file or folder that fail without any mistake.

    False if none works.
    """
    while by := failure(tests, None, ""):
        print(f"left out, since it fails without any mistake: {by}", file=sys.stderr)
        if by == tests:
            return False
        LEFT_OUT.append(f"--deselect={by}")
    return True


def exit_code(ends: Counter[str]) -> int:
    """Return 1 if a mistake could not be made, so that no test could notice it."""
    return 1 if ends["not found"] else 0


def rows_of(rooms: list[str]) -> list[tuple[str, str, str]]:
    """Return the rows of some rooms."""
    return [row for row in MISTAKES if row[0] in rooms]


def note(mistake: str, test: str) -> None:
    """Keep which test has noticed a mistake."""
    NOTICED.parent.mkdir(parents=True, exist_ok=True)
    NOTICED.write_text(json.dumps({**noticed(), mistake: test}))


def noticed() -> dict[str, str]:
    """The test that has noticed each mistake last."""
    found: dict[str, str] = json.loads(NOTICED.read_text()) if NOTICED.exists() else {}
    return found


def pattern_of(text: str) -> re.Pattern[str]:
    """Match a text of code however the formatter breaks its lines.

    Args:
        text: A part of the source, as a row of `MISTAKES` has it.

    Returns:
        A pattern that lets white space differ between any two words or signs, and a comma be added
        before a closing bracket.
    """
    parts = []
    for word in re.findall(r"\w+|[^\w\s]", text):
        comma = r",?\s*" if word in {")", "]", "}"} else ""
        parts.append(comma + re.escape(word))
    return re.compile(r"\s*".join(parts))


def place_of(
    room: str, text: str, root: Path = Path()
) -> tuple[Path, re.Match[str]] | None:
    """Find the only place in a room where a mistake can be made.

    Args:
        room: The folder of the package.
        text: What a row of `MISTAKES` replaces.
        root: The project's folder.

    Returns:
        The file and the match; None if the text is not there, or several times.
    """
    pattern = pattern_of(text)
    files = (root / "pulumi_snapshots" / room).rglob("*.py")
    places = [
        (file, found) for file in files for found in pattern.finditer(file.read_text())
    ]
    return places[0] if len(places) == 1 else None


def with_mistake(found: re.Match[str], instead: str) -> str:
    """Return a file's text with a mistake in it."""
    right = found.string
    return right[: found.start()] + instead + right[found.end() :]


def tried(room: str, text: str, instead: str, last: str | None) -> tuple[str, str]:
    """`caught`, `missed` or `not found`; and the test that has caught it."""
    place = place_of(room, text)
    if place is None:
        return "not found", ""
    file, found = place
    right = found.string
    wrong = with_mistake(found, instead)
    names = changed(right, wrong)
    if not names:
        return "not found", ""
    # A command's function is kept in an object of click, where a fork of this process cannot change
    # it.
    is_within = "cli" in file.parts or any("<locals>" in name for name in names)
    first = [last] if last and Path(last.partition("::")[0]).exists() else []
    try:
        write(file, wrong)
        for tests in (*first, *(f"tests/{folder}" for folder in TESTS[room])):
            if by := failure(tests, file, wrong, is_within=is_within):
                return "caught", by
    finally:
        write(file, right)
    return "missed", ""


def write(file: Path, text: str) -> None:
    """Write a file so that Python compiles it again, though only seconds and sizes count."""
    later = file.stat().st_mtime + 2
    file.write_text(text)
    os.utime(file, (later, later))


def failure(
    tests: str, file: Path | None, wrong: str, *, is_within: bool = False
) -> str:
    """The first of these tests that fails with this text in a file, or does not end in time.

    Empty if all pass.

    A function within another one may have been made when its module was loaded, so such a mistake
    takes a new process.
    """
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                os.setsid()
                resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                with silent(said.fileno()):
                    if is_within:
                        os.execv(  # noqa: S606  made above
                            sys.executable,
                            [sys.executable, "-m", "pytest", *QUIET, *LEFT_OUT, tests],
                        )
                    if file is not None:
                        make(file, wrong)
                    os._exit(pytest.main([*QUIET, *LEFT_OUT, tests]))
            os._exit(1)
        status = ended(child)
        if status == 0 or (status == NO_SUCH_TEST and "::" in tests):
            return ""
        said.seek(0)
        by = re.search(
            r"^(?:FAILED|ERROR) (tests/.*?)(?: - |$)", said.read(), re.MULTILINE
        )
        return by[1] if by else tests


def ended(child: int) -> int:
    """How a fork ends.

    It is killed with all that it has started, once it is over or takes too long.
    """
    until = time.monotonic() + LONGEST
    while (seen := os.waitpid(child, os.WNOHANG)) == (
        0,
        0,
    ) and time.monotonic() < until:
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if seen == (0, 0):
        seen = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(seen[1])


@contextlib.contextmanager
def silent(into: int | None = None) -> Iterator[None]:
    """Send what is printed to a file, or nowhere."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno() if into is None else into, 1)
        try:
            yield
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)


def functions_of(text: str) -> dict[str, CodeType]:
    """What is compiled of each function, by its qualified name.

    Those inside of functions are part of these.
    """
    found: dict[str, CodeType] = {}
    within = [compile(text, "mistake", "exec")]
    while within:
        code = within.pop()
        for each in code.co_consts:
            if isinstance(each, CodeType):
                found[each.co_qualname] = each
                if "<locals>" not in each.co_qualname:
                    within.append(each)
    return found


_functions_as_written = cache(functions_of)
"""Of a file that many mistakes are made in."""


def changed(right: str, wrong: str) -> dict[str, CodeType]:
    """The functions that differ.

    None if the mistake is none of Python's, which no test has to notice.
    """
    before = _functions_as_written(right)
    try:
        after = functions_of(wrong)
    except SyntaxError:
        return {}
    return {
        name: code
        for name, code in after.items()
        if _says(code) != _says(before.get(name))
    }


def _says(code: CodeType | None) -> Any:
    """What a function does, without where it stands."""
    if code is None:
        return None
    inside = tuple(
        _says(each) if isinstance(each, CodeType) else repr(each)
        for each in code.co_consts
    )
    return code.co_code, code.co_names, code.co_varnames, inside


def functions_in(value: object) -> list[FunctionType]:
    """Return a function, and those that it or another value wraps, such as a property's."""
    inner: object = None
    # "func" is that of a property that is kept, "callback" that of a command.
    for name in ("__wrapped__", "__func__", "fget", "func", "callback"):
        inner = inner or getattr(value, name, None)
    within = (value, inner, getattr(inner, "__wrapped__", None))
    return [each for each in within if isinstance(each, FunctionType)]


def make(file: Path, wrong: str) -> None:
    """Make a mistake in the functions that are loaded.

    Whoever has imported one has the same object.
    """
    module = import_module(
        ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    )
    codes = functions_of(wrong)
    within: list[Any] = [module]
    seen = set()
    while within:
        for each in list(vars(within.pop()).values()):
            for function in functions_in(each):
                if function.__module__ == module.__name__:
                    code = codes.get(function.__code__.co_qualname)
                    if (
                        code is not None
                        and code.co_freevars == function.__code__.co_freevars
                    ):
                        function.__code__ = code
            if (
                isinstance(each, type)
                and each.__module__ == module.__name__
                and each not in seen
            ):
                seen.add(each)
                within.append(each)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
