"""The poller at its end."""

from __future__ import annotations

import asyncio

from occlum_async._native._host import lib

from occlum_async.process.submissions import Submissions
from occlum_async.sched.strand import Scheduler


async def test_an_answer_after_the_end_reaches_nobody() -> None:
    submissions = Submissions(Scheduler(asyncio.get_running_loop()), 0, b"")
    submissions.close()
    lib.poller_complete(submissions.poller, 0, 0, 0, 0)
    submissions.schedule()
    await asyncio.sleep(0)
