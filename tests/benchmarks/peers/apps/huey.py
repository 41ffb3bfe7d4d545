"""huey: `RedisHuey`, and `huey_consumer` with its defaults: a thread that works, and one that reads the schedule.

What its source shows (3.5.4). A scheduled job lies in the queue's list until a worker pops it and puts it into the
schedule, a zset (`Huey.execute`). Once a second, which is also the least that it allows (`Scheduler.__init__`), the
consumer pops all that is due in one script, on its own host's clock (`read_schedule`), and pushes the jobs one by one
onto the list (`Scheduler.loop`). The worker pops with BRPOP before it runs a job (`RedisStorage.dequeue`), and nothing
remembers what was popped, so a consumer that is killed loses what it had popped from either. Retries are 0 by default.
"""

from __future__ import annotations

from datetime import UTC, datetime

from huey import RedisHuey

from tests.benchmarks.peers.jobs import URL, Jobs, note

WORKER = ["-m", "huey.bin.huey_consumer", "tests.benchmarks.peers.apps.huey.huey"]
PACKAGES = ["huey", "redis"]
LOOKS = "every 1 s, its least"
PROMISES = (
    "at most once: a killed worker loses the job that runs, and due ones on their way from the schedule to the queue; "
    "no retry by default; on the worker's clock"
)
BACKLOG = 10_000

huey = RedisHuey(url=URL)


@huey.task()
def job(key: str) -> None:
    note(key)


def schedule(jobs: Jobs) -> None:
    for key, run_at in jobs:
        job.schedule((key,), eta=datetime.fromtimestamp(run_at, UTC))
