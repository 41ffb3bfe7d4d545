"""The watchdog of an embedded server: starts it, waits until no user is left, and ends it.

Run as a program by `embedded.py`:

    python -I -S embedded_watchdog.py GUARD HOME private|shared SOCKET LOCK SERVER ARG...

LOCK is the inherited descriptor of a lock on HOME/server.lock, which the server inherits in turn and holds as long as
it runs. Each user holds a shared lock on HOME/users, so the process that gets an exclusive one knows that no user is
left. The program exits with 0 as soon as the server runs. Its child stays, in a session of its own, so that a Ctrl-C in
a user's terminal reaches neither the watchdog nor the server.

    watchdog --- the writing end of a pipe
       |  killed                                the end of the pipe
       '--------------> shell, which reads from it --------------> becomes the next watchdog, with a shell of its own

A watchdog may be killed, and no lock tells anybody. So each has a shell that reads from a pipe of which the watchdog
alone has the writing end. If the watchdog ends without a word, however it ends, the system closes the pipe, and the
shell becomes a watchdog of the same server:

    python -I -S embedded_watchdog.py GUARD HOME private|shared SOCKET

GUARD is the inherited descriptor of a lock on HOME/watchdog, which a watchdog and its shell share. If both are killed,
nobody holds that lock, and the next user that comes starts such a watchdog.

Such a watchdog is not the server's parent. It finds the server's process id in server.lock, where the first watchdog
has written it; the id is that of a living server as long as the lock is held.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from types import FrameType
from typing import NoReturn

END_SECONDS = 60  # the server may need several seconds to write its file; after this time it is killed


def main(guard: str, home: str, kind: str, socket: str, *server: str) -> None:
    """Watch over a server that runs, or start one; exit with an error message if it cannot be started."""
    report, reporter = os.pipe()
    if os.fork():
        os.close(reporter)
        with open(report) as message:
            sys.exit(message.read() or None)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # else a user who blocks SIGTERM and SIGALRM has the server do so
    os.umask(0o077)  # the server's files are the user's alone
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    with successor(guard, home, kind, socket):
        process = None
        try:
            if server:
                process = start(int(server[0]), home, *server[1:])
        except OSError as error:
            os.write(reporter, str(error).encode())
            return
        finally:
            os.close(reporter)
        end_unused(int(guard), home, kind, socket)
        if process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)  # it has ended, or will not; where nobody reaps orphans, it would stay as a zombie


def start(lock: int, home: str, *server: str) -> subprocess.Popen[bytes]:
    """Start the server, and write its process id where the next watchdog finds it."""
    try:
        os.close(os.open(os.path.join(home, "users"), os.O_RDWR))  # if this fails, no server is left alone
        process = subprocess.Popen(server, pass_fds=[lock], cwd=home)
        os.truncate(lock, 0)
        os.pwrite(lock, str(process.pid).encode(), 0)
        return process
    finally:
        os.close(lock)


@contextlib.contextmanager
def successor(guard: str, *args: str) -> Generator[None]:
    """Have a shell become the next watchdog if this one is ended inside the block."""
    program = [sys.executable, "-I", "-S", __file__, guard, *args]
    shell = ["/bin/sh", "-c", 'read -r _ || exec "$@"', "sh", *program]
    try:
        waiting = subprocess.Popen(shell, stdin=subprocess.PIPE, pass_fds=[int(guard)])
    except OSError:  # there is no shell
        yield
        return
    try:
        yield
    except OSError:
        pass  # the files are gone, and the next watchdog would fail like this one
    waiting.communicate(b"done\n")


def end_unused(guard: int, home: str, kind: str, socket: str) -> None:
    """Wait until no user is left, then end the server. New users wait until this is done.

    The server that is ended may be a newer one than the one that was started or adopted: whichever runs is unused.
    """
    with open(os.path.join(home, "users"), "r+b") as users, open(os.path.join(home, "server.lock"), "r+b") as lock:
        fcntl.flock(users, fcntl.LOCK_EX)
        fcntl.flock(guard, fcntl.LOCK_UN)  # the shell's as well: the next server gets a watchdog of its own
        if not ends(lock.fileno()):
            return
        # Both locks are ours: nobody starts a server now.
        if kind == "private":
            shutil.rmtree(home, ignore_errors=True)
        else:
            for path in (os.path.join(home, "socket"), socket):
                with contextlib.suppress(OSError):
                    os.unlink(path)
        if os.path.dirname(socket) != home:
            shutil.rmtree(os.path.dirname(socket), ignore_errors=True)


def ends(lock: int) -> bool:
    """End the server that holds a lock, and take the lock. Returns False if the server does not end."""
    signal.signal(signal.SIGALRM, _raise_timeout)
    for deadly in (signal.SIGTERM, signal.SIGKILL):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        pid = os.pread(lock, 20, 0)
        if not pid.isdigit():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), deadly)
        signal.alarm(END_SECONDS)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return True
        except TimeoutError:
            pass
        finally:
            signal.alarm(0)
    return False


def _raise_timeout(_: int, __: FrameType | None) -> NoReturn:
    raise TimeoutError


if __name__ == "__main__":
    main(*sys.argv[1:])
