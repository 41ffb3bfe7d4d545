"""The options of `rx-runat work`, and how they are read."""

from __future__ import annotations

import argparse
from datetime import timedelta

from rx_runat.errors import InvalidSetting
from rx_runat.model.again import Again
from rx_runat.model.when import parse_duration
from rx_runat.settling.again import cron, every

WORK = """\
Work on keys as they fall due, by a function or by a command. The key of a claim whose work fails comes again after a
backoff, and goes to the dead letters after the last attempt. The first SIGTERM or SIGINT begins no new work and lets
the work under way end; a second one ends the worker and its commands at once, and what was begun comes again when its
lease ends. Signals within 0.2 s of the first one are taken for copies of it, as `timeout` sends them.

  rx-runat work app.jobs:send --redis redis://localhost:6379
  rx-runat work --exec './send.sh -- {}' --timeout 30s

NAME is a module and a function in it, which is called with a Claim: a plain function runs on a thread, a coroutine
function on an event loop, and an Observable may be returned. The current directory is importable.

--exec runs no shell: CMD is split into words once, and a word that is {} becomes the key, which also stands in
$RX_RUNAT_KEY. The data of the key is the standard input, as JSON: null if it has none. Status 0 is success; of any
other, the last line of standard error is the reason. All lines of it are in the log. On --timeout, and when the lease
is lost, the process group of CMD gets SIGTERM, and 2 s later SIGKILL. After a kill -9 of the worker itself, CMD goes
on. Mind that CMD may read a key that begins with - as an option: most commands take all that follows -- as it is. A key
with a NUL cannot be a word, and goes to the dead letters.
"""

WORK_EPILOG = """\
DURATION is seconds (30, 0.5) or has units (500ms, 30s, 1h30m, 1d). Exit status: 0 after an orderly end; 1 if the
stream failed, or the module of NAME raised; 2 for wrong usage, or a NAME that is not there; 130 after a second signal.

The log goes to standard error, and so does that of your own code. With --log-json a line that tells an outcome has key,
attempt, verdict, seconds and lateness. Use /healthz as a readiness check: an outage of Redis shows there, and heals by
itself, so a liveness check would kill a worker that would go on. OTEL_METRICS_EXPORTER and OTEL_TRACES_EXPORTER name
where metrics and traces go (extra otel, and an SDK).
"""


def add_work_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `rx-runat work` to its parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(refuse=parser.error)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the function, such as app.jobs:send")
    parser.add_argument("--exec", metavar="'CMD {}'", help="run a command for each key instead")
    parser.add_argument(
        "--lease", type=_duration, default=30.0, metavar="DURATION", help="renewed while work goes on; default: 30"
    )
    parser.add_argument(
        "--max-in-flight", type=_count, default=100, metavar="N", help="claims that are out at most; default: 100"
    )
    parser.add_argument(
        "--max-concurrent", type=_count, default=8, metavar="N", help="works at a time at most; default: 8"
    )
    parser.add_argument("--max-attempts", type=_count, default=5, metavar="N", help="of each key; default: 5")
    parser.add_argument(
        "--timeout",
        type=_duration,
        metavar="DURATION",
        help="work that takes longer fails: a coroutine or an Observable is cancelled, the process group of a command "
        "is ended; a plain function cannot be: it goes on, perhaps beside its next attempt, and its thread is replaced."
        " default: none",
    )
    parser.add_argument(
        "--again",
        metavar="CRON|DURATION",
        help="when a key is due again: after each DURATION, or at the times of a crontab line (extra cron), such as "
        "'0 9 * * 1-5' or @daily",
    )
    parser.add_argument("--tz", default="UTC", metavar="ZONE", help="whose clocks a crontab line means; default: UTC")
    parser.add_argument("--log-json", action="store_true", help="log one JSON object a line, instead of words")
    parser.add_argument(
        "--health-port",
        type=port,
        metavar="PORT",
        help="serve /healthz: 200 if Redis has answered within 30 s, else 503; 0: any free port",
    )
    parser.add_argument(
        "--health-host", default="127.0.0.1", metavar="HOST", help="where to serve it; default: 127.0.0.1"
    )


def again_of(options: argparse.Namespace) -> Again | None:
    """Returns when keys are due again, as `settle` takes it; None: they are not.

    Raises:
        InvalidSetting: no such time.
        ImportError: a crontab line needs the `cron` extra.
    """
    text = options.again
    if text is None:
        return None
    if text.startswith("@") or len(text.split()) > 1:
        return cron(text, options.tz)
    try:
        return every(_duration(text))
    except argparse.ArgumentTypeError:
        raise InvalidSetting(
            f"--again: got {text!r}; it must be a duration, such as 30m, or a crontab line, such as '0 9 * * 1-5'"
        ) from None


def _duration(text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except OverflowError:
        found = None
    if found is None:
        raise argparse.ArgumentTypeError(f"got {text!r}; it must be seconds, or have a unit, such as 30s, 5m or 2h")
    return found


def _count(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; it must be a count from 1")
    return int(text)


def port(text: str) -> int:
    """Returns the number of a port, 0 included, from an argument."""
    if not text.isdecimal() or not text.isascii() or len(text) > 5 or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"got {text!r}; it must be a port, from 0 to 65535")
    return int(text)
