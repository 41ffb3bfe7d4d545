"""The keeper of an embedded server: starts it, waits until it has no user left, and ends it.

Run as a program by `embedded.py`:

    python -I -S embedded_watchdog.py LOCK HOME private|shared SOCKET SERVER ARG...

LOCK is an inherited descriptor: the lock that the server is to hold as long as it lives. On HOME/users every user
holds a shared lock; who gets it exclusively knows that nobody is left. Exits with 0 as soon as the server runs. The
keeping goes on in a child, in a session of its own: a Ctrl-C meant for a user reaches neither it nor the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from typing import IO

END_SECONDS = 60  # for its last lines to be written; then it is killed


def main(lock: str, home: str, kind: str, socket: str, *server: str) -> None:
    """Start the server and stay, in a child; tell the caller whether it runs."""
    heard, said = os.pipe()
    if os.fork():
        os.close(said)
        with open(heard) as words:
            sys.exit(words.read() or None)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    try:
        users = open(os.path.join(home, "users"), "r+b")  # noqa: SIM115 (before there is a server to be left alone)
        process = subprocess.Popen(server, pass_fds=[int(lock)], cwd=home)
    except OSError as error:
        os.write(said, str(error).encode())
        return
    os.close(int(lock))
    os.close(said)
    keep(process, users, home, kind == "private", socket)


def keep(process: subprocess.Popen[bytes], users: IO[bytes], home: str, private: bool, socket: str) -> None:
    """Wait for the last user to go, then end the server; new users wait until we are done."""
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
        elif alive:  # else another keeper has started another server here since
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(home, "socket"))
                os.unlink(socket)
        if os.path.dirname(socket) != home:
            shutil.rmtree(os.path.dirname(socket), ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
