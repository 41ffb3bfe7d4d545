"""rq: `enqueue_at`, and `rq worker --with-scheduler` with its defaults: a process forked for each job.

What its source shows (3.0.0). A scheduled job's id lies in a zset, its score cut down to whole seconds
(`ScheduledJobRegistry.schedule`), and the job in a hash of its own. Once a second the scheduler, a process of its own,
moves up to 1,000 ids that are due on its host's clock to the queue, in one transaction (`enqueue_scheduled_jobs`). The
worker moves an id to an intermediate list (`Queue.lmove`) and forks (`fork_work_horse`). A killed worker's job is found
by the maintenance of another one, every 10 minutes, when its heartbeat of 90 s has passed; it is retried if it was
enqueued with `Retry`, else it becomes a failed job (`StartedJobRegistry.cleanup`, `IntermediateQueue.cleanup`).
"""

from __future__ import annotations

from datetime import UTC, datetime

from redis import Redis
from rq import Queue

from tests.benchmarks.peers.jobs import URL, Jobs, note

WORKER = ["-m", "rq.cli", "worker", "--with-scheduler"]  # the URL is in $RQ_REDIS_URL
PACKAGES = ["rq", "redis"]
LOOKS = "every 1 s; moments are cut to whole seconds"
PROMISES = (
    "another worker finds the job of a killed one within some 12 minutes, and lists it as failed, or runs it again "
    "where it was enqueued with `Retry`; a job may run a second early; on the worker's clock"
)
BACKLOG = 400


def schedule(jobs: Jobs) -> None:
    queue = Queue(connection=Redis.from_url(URL))
    for key, run_at in jobs:
        queue.enqueue_at(datetime.fromtimestamp(run_at, UTC), note, key)
