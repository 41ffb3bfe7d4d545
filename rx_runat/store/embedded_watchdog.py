"""The watchdog of an embedded server: starts it, waits until no user is left, and ends it.

Run as a program by `embedded.py`:

    python -I -S embedded_watchdog.py LOCK HOME private|shared SOCKET SERVER ARG...

LOCK is the inherited descriptor of a lock, which the server inherits in turn and holds as long as it runs. Each user
holds a shared lock on HOME/users, so the process that gets an exclusive one knows that no user is left. The program
exits with 0 as soon as the server runs. Its child stays, in a session of its own, so that a Ctrl-C in a user's terminal
reaches neither the watchdog nor the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from typing import IO

END_SECONDS = 60  # the server may need several seconds to write its file; after this time it is killed


def main(lock: str, home: str, kind: str, socket: str, *server: str) -> None:
    """Start the server in a child, which stays; exit with an error message if the server cannot be started."""
    report, reporter = os.pipe()
    if os.fork():
        os.close(reporter)
        with open(report) as message:
            sys.exit(message.read() or None)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    try:
        users = open(os.path.join(home, "users"), "r+b")  # noqa: SIM115 (before the server starts: if this fails, no server is left alone)
        process = subprocess.Popen(server, pass_fds=[int(lock)], cwd=home)
    except OSError as error:
        os.write(reporter, str(error).encode())
        return
    os.close(int(lock))
    os.close(reporter)
    end_unused(process, users, home, kind == "private", socket)


def end_unused(process: subprocess.Popen[bytes], users: IO[bytes], home: str, private: bool, socket: str) -> None:
    """Wait until no user is left, then end the server. New users wait until this is done."""
    with users:
        fcntl.flock(users, fcntl.LOCK_EX)
        alive = process.poll() is None
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if private:
            shutil.rmtree(home, ignore_errors=True)
        elif alive:  # if the server had died, another watchdog may have started a new one here: leave its socket
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(home, "socket"))
                os.unlink(socket)
        if os.path.dirname(socket) != home:
            shutil.rmtree(os.path.dirname(socket), ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
