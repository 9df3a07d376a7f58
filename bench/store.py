"""The object store's cost of a job: one GET into shared memory and the PUTs of its results. One JSON line.

A real SeaweedFS is started; for each profile one process after the other does the jobs, `--rounds` times in turn, and
the median round counts: CPU of the loop's thread, of all threads, and of the signatures alone. `--before` names a
checkout of another commit (with its `.venv`), whose code takes turns with this one's; `--tls` puts a listener in front.

    python bench/store.py [--jobs 400] [--slots 8] [--rounds 5] [--before FOLDER] [--tls]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import needs  # noqa: F401  # tells what is not installed

#: Profile -> the photo's bytes, and those of its results: a tiny one; one of a phone with 12 megapixels.
PROFILES = {"tiny": (6_000, (3_000, 3_000, 3_000)), "phone": (2_900_000, (900_000, 20_000, 20_000, 20_000))}


async def play(server: dict[str, Any], profile: str, jobs: int, slots: int) -> dict[str, float]:
    """Do the jobs as the service does, and return CPU ms a job. Runs in a process of its own, of either commit."""
    from fastproc.backends.objects_s3 import S3ObjectStore
    from fastproc.config.s3 import S3Config
    from fastproc.supervisor.ports import Upload

    store = S3ObjectStore(S3Config(**server))
    bucket = server["bucket"]
    source, results = PROFILES[profile]
    await store.put_all(bucket, [Upload("photo", os.urandom(source), "image/jpeg", {})])
    left = iter(range(jobs))

    async def admit(size: int) -> None:
        pass

    async def slot(number: int) -> None:
        target, output = (memoryview(mmap.mmap(-1, 8 << 20)) for _ in range(2))
        bodies, at = [], 0
        for size in results:
            bodies.append(bytes(output[at : at + size]))
            at += size
        for job in left:
            await store.get_into(bucket, "photo", target, admit)
            metadata = {"size": "thumb_sm", "width": "150", "photo-id": f"p{job}"}
            uploads = [
                Upload(f"thumbnails/{number}/{n}.jpg", body, "image/jpeg", metadata, is_result=True)
                for n, body in enumerate(bodies)
            ]
            await store.put_all(bucket, uploads)

    await asyncio.gather(*(slot(number) for number in range(slots)))  # Connections, volumes, caches.
    left = iter(range(jobs))
    process, thread, wall = time.process_time(), time.thread_time(), time.monotonic()
    await asyncio.gather(*(slot(number) for number in range(slots)))
    loop_ms, all_ms = (
        1000 * (time.thread_time() - thread) / jobs,
        1000 * (time.process_time() - process) / jobs,
    )
    wall_ms = 1000 * (time.monotonic() - wall) / jobs
    signing_ms = _signing_ms(store, server, 1 + len(results))
    await store.close()
    return {"loop_ms": loop_ms, "all_ms": all_ms, "signing_ms": signing_ms, "wall_ms": wall_ms}


def _signing_ms(store: Any, server: dict[str, Any], requests: int) -> float:
    """What the signatures of a job cost."""
    from fastproc.backends.s3_signing import Credentials

    signer = store._signer
    sign = getattr(signer, "request", signer.signed)
    keys = Credentials(server["access_key"], server["secret_key"])
    headers = {"x-amz-meta-size": "s", "Content-Type": "image/jpeg", "x-amz-checksum-crc32c": "AAAAAA=="}
    begun = time.thread_time()
    for _ in range(500):
        sign(keys, "PUT", server["bucket"], "thumbnails/p/thumb_sm_1.jpg", headers)
    return 1000 * (time.thread_time() - begun) / 500 * requests


def rounds(server: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """Let the commits take turns; return the medians."""
    homes = {"after": pathlib.Path(__file__).parents[1]}
    if given.before:
        homes = {"before": given.before.resolve(), **homes}
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        profile: {name: [] for name in homes} for profile in PROFILES
    }
    for _ in range(given.rounds):
        for profile in PROFILES:
            for name, home in homes.items():
                given_on = json.dumps([server, profile, given.jobs, given.slots])
                command = [str(home / ".venv/bin/python"), __file__, "--play", given_on]
                environment = {**os.environ, "PYTHONPATH": str(home)}
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
                found[profile][name].append(json.loads(done.stdout))
    return {
        profile: {
            name: {key: round(statistics.median(one[key] for one in each), 3) for key in each[0]}
            for name, each in by_name.items()
        }
        for profile, by_name in found.items()
    }


async def over_tls(server: dict[str, Any], folder: pathlib.Path, given: argparse.Namespace) -> dict[str, Any]:
    """The same behind a TLS listener, whose authority is trusted by file."""
    import trustme

    sys.path.append(str(pathlib.Path(__file__).parents[1]))
    from tests import tls

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    async with tls.front(tls.context(authority, "127.0.0.1"), server["port"]) as port:
        secure = {**server, "port": port, "use_ssl": True, "ca_file": str(folder / "ca.pem")}
        return await asyncio.to_thread(rounds, secure, given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=pathlib.Path)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.play:
        import uvloop

        print(json.dumps(uvloop.run(play(*json.loads(given.play)))))
        return
    from msgspec import to_builtins

    from fastproc.embedded.seaweedfs import SeaweedFS

    with tempfile.TemporaryDirectory() as place, SeaweedFS(pathlib.Path(place)) as seaweedfs:
        server = {key: value for key, value in to_builtins(seaweedfs.config).items() if value is not None}
        folder = pathlib.Path(place)
        found = asyncio.run(over_tls(server, folder, given)) if given.tls else rounds(server, given)
        print(json.dumps({"jobs": given.jobs, "slots": given.slots, "tls": given.tls, **found}))


if __name__ == "__main__":
    main()
