"""How many rows and transactions a second the database takes, by how many jobs are in hand: one JSON line each.

Each job writes its two rows (begin, complete with 3 kB) one after the other, as the service does; rows of several jobs
that wait go into one transaction. Every transaction of SQLite waits for the disk (`synchronous=FULL`), so its folder's
disk is what is measured: name one on the disk that will be used.

    python bench/rows.py [--folder .] [--in-hand 1 8 64 128] [--jobs 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path

import uvloop

from fastproc.backends.metadata_sqlite import SqliteMetadataStore
from fastproc.supervisor.ports import Row

AT = "2026-11-27T00:00:00.000Z"


async def measure(path: Path, in_hand: int, jobs: int) -> dict[str, float]:
    """Write the rows of so many jobs, `in_hand` of them at a time."""
    store = SqliteMetadataStore(str(path))
    await store.create_schema()
    row = Row(width=4032, height=3024, processing_metadata='{"x":"' + 3000 * "x" + '"}')
    numbers, transactions = iter(range(jobs)), 0
    commit = store._commit

    def counted(batch: object) -> None:
        nonlocal transactions
        transactions += 1
        commit(batch)  # type: ignore[arg-type]

    store._commit = counted  # type: ignore[method-assign]

    async def line() -> None:
        for number in numbers:
            await store.begin(f"p-{number}", AT)
            await store.complete(f"p-{number}", row, AT)

    cpu, began = time.process_time(), time.monotonic()
    await asyncio.gather(*(line() for _ in range(in_hand)))
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    await store.close()
    with sqlite3.connect(path) as connection:
        [(written,)] = connection.execute("SELECT count(*) FROM photos WHERE width = 4032")
    assert written == jobs
    return {
        "in_hand": in_hand,
        "jobs_per_s": round(jobs / seconds),
        "transactions_per_s": round(transactions / seconds),
        "rows_a_transaction": round(2 * jobs / transactions, 1),
        "cpu_ms_per_job": round(1000 * cpu / jobs, 3),
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Rows and transactions a second.")
    parser.add_argument(
        "--folder", type=Path, help="on the disk to measure; default: the system's for such files"
    )
    parser.add_argument("--in-hand", type=int, nargs="+", default=[1, 8, 64, 128])
    parser.add_argument("--jobs", type=int, default=2000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastproc-bench-", dir=args.folder) as folder:
        for in_hand in args.in_hand:
            jobs = args.jobs if in_hand > 1 else args.jobs // 4
            found = uvloop.run(measure(Path(folder) / f"{in_hand}.db", in_hand, jobs))
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
