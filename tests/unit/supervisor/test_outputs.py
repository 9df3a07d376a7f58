"""Where the line of a job puts results: by default as ever, else where the operator said, and never elsewhere."""

from __future__ import annotations

import json

from msgspec import structs

from fastproc.core.keys import Results
from fastproc.supervisor.job import JobLine
from tests.unit.supervisor.fakes import JOB, STAGES
from tests.unit.supervisor.test_job import Line


def line_to(results: Results) -> Line:
    line = Line()
    ports = structs.replace(line.ports, results=results)
    line.line = JobLine(ports, line.guards, line.locks, line.budget, STAGES, line.metrics)
    return line


async def test_results_go_to_their_bucket_by_their_template_and_everybody_is_told_so() -> None:
    line = line_to(Results("out", "img/{photoId}/{name}-{width}.{ext}"))
    await line.run()
    keys = ["img/p-1/thumb_sm-150.jpg", "img/p-1/thumb_lg-600.jpg"]
    assert [upload.key for upload in line.objects.uploads] == keys
    assert all(upload.is_result for upload in line.objects.uploads)
    told = json.loads(str(line.queue.said["return_value"]))["thumbnails"]
    assert [each["s3Key"] for each in told] == keys
    assert [each["url"] for each in told] == [f"http://s3/out/{key}" for key in keys]
    row = line.metadata.rows["p-1"][2]
    assert row is not None
    assert json.loads(row.processing_metadata)["thumbnails"] == told
    assert "objects.put_all out" in line.effects.done


async def test_a_job_that_leads_out_of_the_template_fails_for_good_before_anything_is_fetched() -> None:
    line = line_to(Results(template="img/{key}/{name}"))
    await line.run(structs.replace(JOB, s3_key="/etc/passwd"))
    assert line.queue.said["reason"].startswith("INVALID_JOB: its key or id leads out of UPLOAD_KEY_TEMPLATE")
    assert line.workers.got == []
    assert line.objects.uploads == []
    assert line.metadata.rows["p-1"][0] == "failed"
    assert line.events.events[-1].data["error"]["retryable"] is False
