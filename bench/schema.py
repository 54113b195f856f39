"""Rows about the catalog fingerprint: how long the server takes for it, by number of tables."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from bench.measure import Row
from entrypoint.postgres.sql import load_sql

if TYPE_CHECKING:
    from bench.world import World

SIZES = (10, 100, 1_000, 5_000)
BOUNDED_SIZE = 1_000
MAX_MS = 150.0
MAX_GROWTH = 1.2
"""How much more than in proportion to the tables still counts as linear."""

BATCH = 100
"""Tables in one transaction: each keeps some locks until its end."""

# Every table refers to the one before it; every tenth has a view and a trigger besides.
TABLES = """
do $$ begin
  for n in {first}..{last} loop
    execute format(
      'create table t%1$s (
         id serial primary key, previous int references t%2$s (id), code text not null unique,
         amount numeric(12,2) not null default 0 check (amount >= 0), kind varchar(20), note text,
         flags jsonb, done boolean not null default false,
         created_at timestamptz not null default now())', n, greatest(n - 1, 1));
    if n % 10 = 0 then
      execute format('create view v%1$s as select id, code from t%1$s where not done', n);
      execute format(
        'create function touch%1$s() returns trigger language plpgsql as
           ''begin new.created_at := now(); return new; end''', n);
      execute format('create trigger touch before update on t%1$s
                      for each row execute function touch%1$s()', n);
    end if;
  end loop;
end $$
"""


def fingerprint(world: World) -> list[Row]:
    """One growing database; each figure is the median of new connections, as a start has them."""
    database = world.database()
    world.create(database)
    rows: list[Row] = []
    runs = world.times(5)
    before, smaller = 0, 0.0
    for size in SIZES:
        for first in range(before + 1, size + 1, BATCH):
            last = min(first + BATCH - 1, size)
            world.execute(TABLES.format(first=first, last=last).encode(), database)
        took = [_seconds(world, database) for _ in range(runs)]
        median = statistics.median(took) * 1000
        growth = median / smaller if smaller else 0.0
        bound, met = "", None
        if size == BOUNDED_SIZE:
            bound, met = f"≤ {MAX_MS:.0f} ms", median <= MAX_MS
        elif size > BOUNDED_SIZE:
            limit = MAX_GROWTH * size / before
            bound, met = f"≤ {limit:.1f} x", growth <= limit
        rows.append(
            Row(
                f"catalog fingerprint in a new session, {size:,} tables"
                + (f", over {before:,}" if before else ""),
                f"{median:,.0f} ms ({min(took) * 1000:,.0f}-{max(took) * 1000:,.0f})",
                f"{smaller:,.0f} ms" if before else "",
                f"{growth:.2f} x" if before else "",
                str(runs),
                bound,
                met,
            )
        )
        before, smaller = size, median
    return rows


def _seconds(world: World, database: str) -> float:
    with world.server.connect(database) as connection:
        settings = load_sql("postgres/fingerprint_settings")
        query = load_sql("postgres/schema_fingerprint")
        began = time.monotonic()
        connection.execute(f"{settings};{query}".encode())
        return time.monotonic() - began
