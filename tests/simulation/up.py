"""What is special about one `pulumi up` of a story."""

from dataclasses import dataclass
from typing import Any

AT_THE_CLAIM = "kill -9 once it is claimed"
"""How a run ends right before its POST leaves."""


@dataclass(frozen=True)
class Up:
    """What is special about one `up`."""

    # how it ends early, and after how many seconds
    cut: tuple[str, float] | None = None
    saves: int | None = None  # how many steps the backend stores
    replace: str = ""  # the role of what `--replace` names
    preview: bool = True  # whether it has one
    refresh: bool = False  # whether it has `--refresh`
    at_end: bool = False  # whether its state is stored at the end only
    nap: float = 0.0  # seconds for which the machine sleeps right before a POST leaves
    # what the ledger's place refuses, from when on, and for how many seconds
    trouble: tuple[str, float, float] | None = None
    fills_up: bool = False  # whether the ledger refuses writes from the first POST on
    post_fault: dict[str, Any] | None = None  # the fault of the POSTs
    read_fault: dict[str, Any] | None = None  # the fault of everything else
    # after how many seconds the service takes snapshots of all databases by itself
    automatic: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing can keep it from coming to a good end, or its state from having that."""
        trouble = (self.cut, self.trouble, self.post_fault, self.read_fault, self.saves)
        return trouble == (None,) * len(trouble) and not (
            self.fills_up or self.at_end or self.nap
        )

    def __str__(self) -> str:
        special = {
            "{0.cut[0]} after {0.cut[1]:.0f} s": self.cut,
            "the backend stores {0.saves} steps and is gone": self.saves is not None,
            "--replace of the {0.replace}": self.replace,
            "--skip-preview": not self.preview,
            "--refresh": self.refresh,
            "PULUMI_SKIP_CHECKPOINTS": self.at_end,
            "the machine sleeps for {0.nap:.0f} s before a POST leaves": self.nap,
            "the ledger refuses writes from the first POST on": self.fills_up,
            "the POST: {0.post_fault}": self.post_fault,
            "the polls: {0.read_fault}": self.read_fault,
            "the ledger refuses {0.trouble[0]} from {0.trouble[1]:.0f} s on for {0.trouble[2]:.0f} s": self.trouble,
        }
        return "".join(
            f"; {form.format(self)}" for form, is_so in special.items() if is_so
        )
