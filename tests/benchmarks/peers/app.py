"""The program that an app runs in: `python -m tests.benchmarks.peers.app APP describe|schedule`.

`describe` prints the app's names as JSON, or the error of its import. `schedule` reads the jobs as JSON from standard
input. It runs under the Python that has the peers, so it imports nothing but the app and the standard library.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.metadata import version


def main(name: str, verb: str) -> None:
    """Obey."""
    try:
        app = importlib.import_module(f"tests.benchmarks.peers.apps.{name}")
    except ImportError as error:
        if verb != "describe":
            raise
        print(json.dumps({"missing": str(error)}))
        return
    if verb == "describe":
        versions = [f"{package} {version(package)}" for package in app.PACKAGES]
        print(
            json.dumps(
                {
                    "versions": versions,
                    "worker": app.WORKER,
                    "looks": app.LOOKS,
                    "promises": app.PROMISES,
                    "backlog": app.BACKLOG,
                }
            )
        )
    else:
        app.schedule([(key, run_at) for key, run_at in json.load(sys.stdin)])


if __name__ == "__main__":
    main(*sys.argv[1:])
