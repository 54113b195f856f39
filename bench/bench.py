"""What `make bench` runs: prints the tables of docs/benchmarks.md, measured side by side.

Every ratio is the median of ratios of neighbours, in runs that take turns (A B A B ...), with the
least and the greatest beside it: other work on the machine then falls on both. Times are of whole
processes, from fork to exit, with one run before that does not count.
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import (
    containers,
    health,
    inside,
    operators,
    replicas,
    schema,
    starts,
    today,
    transfer,
)
from bench.measure import BenchError, Row, SkippedError, markdown
from bench.world import World

ROWS: dict[str, Callable[[World], list[Row]]] = {
    "floor": starts.floor,
    "script": today.script,
    "dbmate": starts.dbmate,
    "memory": inside.memory,
    "connections": inside.connections,
    "catalog": schema.fingerprint,
    "ledger": starts.tenants,
    "replicas": replicas.replicas,
    "health": health.probe,
    "operators": operators.operators,
    "transfer": transfer.transfer,
    "many-tables": transfer.tables,
}
DOCKER_ROWS: dict[str, Callable[[World], list[Row]]] = {
    "inside": containers.inside,
    "run": containers.run,
    "limits": containers.limits,
    "stack": containers.stack,
}
IMPORTS = "imports"


def main() -> int:
    """Measure, print, and return the exit code."""
    options = _options()
    chosen = re.compile(options.only)
    rows: list[Row] = []
    failed = False
    with World.open(options.runs) as world:
        say(world.description())
        for name, measure in (DOCKER_ROWS if options.docker else ROWS).items():
            if chosen.search(name):
                sys.stderr.write(f"measuring: {name}\n")
                try:
                    rows += measure(world)
                except SkippedError as reason:
                    rows.append(Row(name, f"skipped: {reason}"))
                except BenchError as error:
                    failed = True
                    rows.append(Row(name, "failed"))
                    sys.stderr.write(f"{name}: {error}\n")
        head = ["what", "ours", "other", "ratio", "runs", "bound"]
        if rows:
            say(markdown(head, [row.cells() for row in rows]))
        if chosen.search(IMPORTS) and not options.docker:
            say(inside.imports(world))
    missed = any(row.met is False for row in rows)
    return int(failed or (missed and options.strict))


def say(paragraph: str) -> None:
    """Print a paragraph now, whatever stdout is."""
    sys.stdout.write(f"{paragraph.rstrip()}\n\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    names = ", ".join([*ROWS, IMPORTS])
    parser = argparse.ArgumentParser(prog="make bench", description="Measure what a start costs.")
    parser.add_argument(
        "--runs",
        type=int,
        help="of each cheap row (default 15); the others get fewer in proportion",
    )
    parser.add_argument("--only", default="", metavar="PATTERN", help=f"of the rows {names}")
    parser.add_argument(
        "--docker", action="store_true", help="the rows that need an engine instead"
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 if a bound is missed")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
