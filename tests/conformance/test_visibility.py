"""What the application sees of workers and jobs; lost connections. Checklist nos. 68 to 71."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastproc.bullmq import scripts
from tests.conformance.conftest import PATIENCE_S, Both, Side


async def test_the_worker_is_listed_once_by_its_name_for_its_queue_alone(both: Both) -> None:
    async def scenario(side: Side) -> list[object]:
        async with side.worker(name="somebody"):
            await side.add("ok")
            await side.quiet()
            workers = [worker for worker in await side.call("getWorkers") if worker["cmd"] == "bzpopmin"]
            count = await side.call("getWorkersCount")
            others = await side.peer("queue", v=side.major, queue=f"{side.queue}-2", method="getWorkers")
            assert count == 1
            assert others == []
        async with asyncio.timeout(PATIENCE_S):
            while await side.call("getWorkersCount"):
                continue  # Redis notices a closed connection when it comes round to it.
        assert [worker["name"] for worker in workers] == [side.queue]
        return [worker["rawname"].rpartition(":")[2] for worker in workers]

    await both(scenario)


async def test_the_worker_is_listed_again_when_its_connections_were_cut(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        async with side.worker():
            await side.add("ok")
            await side.quiet()
            await side.until(lambda: side.cut("w"), "a connection to cut")
            await side.add("ok")
            await side.until_state("completed", 2)
            await side.until(lambda: len(side.connections("w")) == 1, "listed again")
            await side.quiet()
        return side.runs()

    await both(scenario)


async def test_counts_states_and_lists_are_right_at_each_stage(both: Both) -> None:
    async def scenario(side: Side) -> list[object]:
        seen: list[object] = []

        async def look() -> None:
            counts = await side.call("getJobCounts")
            states = {job_id: await side.job(job_id, "getState") for job_id in ("a", "b", "c", "d", "e")}
            lists = {
                state: [job["id"] for job in await side.call("getJobs", [state])]
                for state in ("active", "waiting", "delayed", "completed", "failed", "prioritized")
            }
            seen.append((counts, states, lists))

        for job_id, script, opts in (
            ("a", "gate:a | ok", {}),
            ("b", "gate:b | fatal:FILE_CORRUPTED", {}),
            ("c", "gate:c | ok", {"priority": 4}),
            ("d", "gate:d | ok", {"delay": 60_000}),
            ("e", "gate:e | fail-then-ok:1 | ok", {"priority": 9, "attempts": 2, "backoff": 60_000}),
        ):
            await side.add(script, jobId=job_id, **opts)
        await look()
        async with side.worker():
            for number, job_id in enumerate("abce", 1):
                await side.until(lambda n=number: len(side.runs()) == n)
                await look()
                side.open(job_id)
            await side.until(lambda: not side.count("active"))
            await look()
            await side.job("d", "promote")
            # Whether it is taken before the next one is promoted must not be left to chance.
            await side.until(lambda: len(side.runs()) == 5)
            await side.job("e", "promote")
            side.open("d")
            await side.quiet()
            await look()
        assert seen[-1][0]["completed"] == 4
        return seen

    await both(scenario)


async def test_a_queue_can_be_cleaned_drained_and_obliterated_under_a_worker(both: Both) -> None:
    async def scenario(side: Side) -> list[object]:
        async with side.worker():
            await side.add_all("ok", 3)
            await side.quiet()
            cleaned = await side.call("clean", 0, 2, "completed")
            await side.add("gate:go | ok", jobId="running")
            await side.until_state("active")
            await side.add_all("ok", 3, jobId="drained")
            await side.call("drain")
            side.open("go")
            await side.quiet()
            left = side.count("completed")
            await side.call("obliterate", {"force": True})
            await side.call("resume")
            await side.add("ok", jobId="afterwards")
            await side.until_state("completed")
            await side.quiet()
        assert (len(cleaned), left) == (2, 2)
        return [len(cleaned), left, side.runs()]

    await both(scenario)


async def test_the_commands_that_are_installed_are_those_of_the_official_package(
    scripts_of_major: dict[int, str],
) -> None:
    installed = scripts.load()
    assert installed == scripts.load(Path(scripts_of_major[5]))
    assert installed.keys() == scripts.load(Path(scripts_of_major[6])).keys()
