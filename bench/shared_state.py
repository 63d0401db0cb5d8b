"""`python -m bench.shared_state` prints what shared state costs a fleet, in virtual time."""

from datetime import timedelta

from tests.simulation.fleet import measure, ours

COLUMNS = ("databases", "machines", "an edit takes", "makespan", "of the limit", "added", "writes of the ledger")


def main() -> None:
    """Measure and print."""
    hour = timedelta(hours=1)
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"| {' | '.join('---' for _ in COLUMNS)} |")
    for databases, machines in ((1, 1), (50, 1), (100, 2)):
        clocks = [timedelta(), hour][:machines]
        alone = measure(ours(), databases).makespan
        for delay in (0.05, 0.5, 2.0):
            one = measure(ours(), databases, machines=clocks, delay=delay)
            span = one.makespan
            print(
                f"| {databases} | {machines} | {delay * 1000:.0f} ms | {span:.1f} s | {span / one.limit:.3f} | "
                f"{span - alone:+.1f} s, {span / alone - 1:+.1%} | {one.writes:.2f} |"
            )


if __name__ == "__main__":
    main()
