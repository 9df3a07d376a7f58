"""How many rows and transactions a second the database takes, by how many jobs are in hand: one JSON line each.

Each job writes its two rows (begin, complete with 3 kB) one after the other, as the service does; rows of several jobs
that wait go into one transaction. Every transaction of SQLite waits for the disk (`synchronous=FULL`), and so does
PostgreSQL's (`--postgresql`, a server of our own with `fsync`), so the folder's disk is what is measured: name one on
the disk that will be used. Of PostgreSQL the own CPU of the server is told too, with some services that write at once.

    python bench/rows.py [--folder .] [--in-hand 1 8 64 128] [--jobs 2000] [--postgresql [--services 1 2 4]]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import needs
import psutil
import uvloop

from fastproc.backends.metadata_sqlite import SqliteMetadataStore
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.supervisor.ports import MetadataStore, Row

AT = "2026-11-27T00:00:00.000Z"
#: Longest wait for a service that may have been killed, in seconds.
MOST_S = 600.0
#: As an operator's server: the embedded one's own default waits for no disk.
DURABLE = ("fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=128MB")


async def write(store: MetadataStore, prefix: str, in_hand: int, jobs: int) -> None:
    """Write the rows of so many jobs, `in_hand` of them at a time."""
    row = Row(width=4032, height=3024, processing_metadata='{"x":"' + 3000 * "x" + '"}')
    numbers = iter(range(jobs))

    async def line() -> None:
        for number in numbers:
            await store.begin(f"{prefix}-{number}", AT)
            await store.complete(f"{prefix}-{number}", row, AT)

    await asyncio.gather(*(line() for _ in range(in_hand)))


async def sqlite(path: Path, in_hand: int, jobs: int) -> dict[str, float]:
    """Measure SQLite in this process."""
    store = SqliteMetadataStore(str(path))
    await store.create_schema()
    transactions = 0
    commit = store._commit

    def counted(batch: object) -> None:
        nonlocal transactions
        transactions += 1
        commit(batch)  # type: ignore[arg-type]

    store._commit = counted  # type: ignore[method-assign]
    cpu, began = time.process_time(), time.monotonic()
    await write(store, "p", in_hand, jobs)
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


def service(url: str, number: int, in_hand: int, jobs: int, barrier: Any) -> None:
    """Be one of the services: a process of its own, which starts to write when all are there."""
    from fastproc.backends.metadata_postgresql import PostgresMetadataStore

    async def run() -> None:
        store = PostgresMetadataStore(url)
        await store.begin(f"first-{number}", AT)
        await asyncio.to_thread(barrier.wait)
        await write(store, f"{number}", in_hand, jobs)
        await asyncio.to_thread(barrier.wait)
        # The server's processes are looked at between these two.
        await asyncio.to_thread(barrier.wait)
        await store.close()

    try:
        uvloop.run(run())
    except BaseException:
        barrier.abort()  # Else all others would wait for it for ever.
        raise


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and all its children."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(each.cpu_times().user + each.cpu_times().system for each in processes)


def postgresql(server: PostgreSQL, services: int, in_hand: int, jobs: int) -> dict[str, float]:
    """Measure so many services at once, each with `in_hand` jobs."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(services + 1, timeout=MOST_S)
    with server.connect() as connection:
        connection.execute("TRUNCATE photos")
        processes = [
            context.Process(target=service, args=(server.url(), n, in_hand, jobs, barrier))
            for n in range(services)
        ]
        for each in processes:
            each.start()
        barrier.wait()
        cpu, began = cpu_s(server.pid), time.monotonic()
        transactions = committed(connection)
        barrier.wait()
        seconds, cpu = time.monotonic() - began, cpu_s(server.pid) - cpu
        barrier.wait()
        for each in processes:
            each.join()
        time.sleep(1.5)  # The server counts what a session did when that ends, or each second.
        transactions = committed(connection) - transactions
        [written] = connection.execute("SELECT count(*) FROM photos WHERE width = 4032").fetchone()
    assert written == services * jobs, (written, services * jobs)
    return {
        "services": services,
        "in_hand": in_hand,
        "jobs_per_s": round(written / seconds),
        "transactions_per_s": round(transactions / seconds),
        "rows_a_transaction": round(2 * written / transactions, 1),
        "server_cpu_ms_per_job": round(1000 * cpu / written, 3),
    }


def committed(connection: Any) -> int:
    """Return how many transactions the database has committed so far."""
    query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    [count] = connection.execute(query).fetchone()
    return int(count)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Rows and transactions a second.")
    parser.add_argument(
        "--folder", type=Path, help="on the disk to measure; default: the system's for such files"
    )
    parser.add_argument("--in-hand", type=int, nargs="+", default=[1, 8, 64, 128])
    parser.add_argument("--jobs", type=needs.at_least(4), default=2000, help="of each service")
    parser.add_argument("--postgresql", action="store_true", help="a PostgreSQL instead of a SQLite file")
    parser.add_argument("--services", type=int, nargs="+", default=[1], help="with --postgresql: at once")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastproc-bench-", dir=args.folder) as name:
        folder = Path(name)
        if args.postgresql:
            all_postgresql(folder, args)
            return
        for in_hand in args.in_hand:
            found = uvloop.run(sqlite(folder / f"{in_hand}.db", in_hand, few(args.jobs, in_hand)))
            print(json.dumps(found), flush=True)


def all_postgresql(folder: Path, args: argparse.Namespace) -> None:
    """Run one server, and measure each pair of numbers on it."""
    from fastproc.backends.metadata_postgresql import PostgresMetadataStore

    async def create(url: str) -> None:
        store = PostgresMetadataStore(url)
        await store.create_schema()
        await store.close()

    with PostgreSQL(folder / "postgresql", options=DURABLE) as server:
        asyncio.run(create(server.url()))
        for services in args.services:
            for in_hand in args.in_hand:
                found = postgresql(server, services, in_hand, few(args.jobs, in_hand))
                print(json.dumps(found), flush=True)


def few(jobs: int, in_hand: int) -> int:
    """Return how many jobs are enough: one at a time they take long."""
    return jobs if in_hand > 1 else jobs // 4


if __name__ == "__main__":
    main()
