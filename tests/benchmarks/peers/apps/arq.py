"""arq: `enqueue_job(_defer_until=...)`, and the `arq` worker with its defaults: 10 jobs at a time.

What its source shows (0.28.0). Jobs lie in a zset, and each is a pickle under a key of its own, which expires a day
after its job is due (`ArqRedis.enqueue_job`): a job that no worker has begun by then fails as expired (`run_job`).
Every 0.5 s a worker reads up to 100 ids that are due on its own host's clock (`_poll_iteration`), and begins each with
a WATCH and a key `in-progress` (`start_jobs`). The id leaves the zset when the job ends (`finish_job`), so a killed
worker's jobs come again when their `in-progress` keys expire, after the timeout of 300 s and 10 s (`Worker.__init__`),
5 tries at most. A job that raises is not retried, unless it raises `Retry`.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from tests.benchmarks.peers.jobs import URL, Jobs, note

WORKER = ["-m", "arq", "tests.benchmarks.peers.apps.arq.WorkerSettings"]
PACKAGES = ["arq", "redis"]
LOOKS = "every 0.5 s, 100 jobs at most"
PROMISES = (
    "at least once: the jobs of a killed worker come again after 310 s, 5 tries in all; a job that raises is not "
    "retried unless it asks; a job that no worker begins within a day is dropped; on the worker's clock"
)
BACKLOG = 1_000


async def job(context: dict[str, Any], key: str) -> None:
    note(key)


class WorkerSettings:
    functions = (job,)
    redis_settings = RedisSettings.from_dsn(URL)


def schedule(jobs: Jobs) -> None:
    async def enqueue() -> None:
        pool = await create_pool(WorkerSettings.redis_settings)
        for key, run_at in jobs:
            await pool.enqueue_job("job", key, _defer_until=datetime.fromtimestamp(run_at, UTC))
        await pool.aclose()

    asyncio.run(enqueue())
