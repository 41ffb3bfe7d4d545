"""What the README says of Prometheus, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

from rx_runat import RunAt
from tests.support.readme import README, files

SCRIPT = """
import sys
from urllib.request import urlopen
from reactivex import operators as ops
from rx_runat import RunAt, settle
{file}
with RunAt(sys.argv[1]) as queue:
    measure(queue)
    queue.schedule("the-key", 1)
    queue.claims().pipe(settle(lambda _: 1 / 0, max_attempts=1), ops.take(1)).run()
    server, thread = started
    print(urlopen(f"http://127.0.0.1:{{server.server_port}}/metrics").read().decode())
"""


def scraped(url: str) -> str:
    here = "global started\n    started = start_http_server(0, '127.0.0.1')"
    file = files()["metrics.py"].replace("start_http_server(9464)", here)
    assert here in file
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(file=file), url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_prometheus_gets_what_the_alerts_of_the_readme_name(make: Callable[..., RunAt]) -> None:
    said = scraped(make()._store.where)
    alerts = re.findall(r"^\| `(.*?rx_runat.*?|.*?messaging.*?)` \|", README.read_text(), re.MULTILINE)
    names = [re.search(r"(rx_runat|messaging)_\w+", alert) for alert in alerts]
    assert len(names) == 4
    for name in names:
        assert name
        assert re.search(rf"^{name[0]}\{{.*\}} \d", said, re.MULTILINE), name[0]
    assert re.search(r'^rx_runat_queue_dead\{.*messaging_destination_name="RunAt~default".*\} 1\.0', said, re.MULTILINE)
    assert re.search(r'^messaging_process_duration_seconds_count\{.*error_type="ZeroDivisionError"', said, re.MULTILINE)
    assert "the-key" not in said
