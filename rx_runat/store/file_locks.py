"""Locks on the files of an embedded server. A forked child keeps none that another thread had taken.

An flock belongs to the open file, which a child inherits: as long as the child has it open, the file stays locked, even
after the parent has closed it. So a child closes what other threads held for a moment. Nothing here is unlocked by
LOCK_UN, because that would release the lock of everybody who inherited it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Generator
from pathlib import Path

from rx_runat.model.forks import in_child
from rx_runat.store.private_dir import open_private

# No thread forks while another one has opened a file and has not noted it yet: the child could not close it. Reentrant,
# because a signal handler may fork.
opening = threading.RLock()
_open: set[int] = set()


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Generator[int]:
    """Yields a descriptor for a lock, closed at the end. A child that is forked meanwhile closes its own at once."""
    with opening:
        descriptor = open_private(path, flags)
        _open.add(descriptor)
    try:
        yield descriptor
    finally:
        with opening:
            _open.discard(descriptor)
            os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Generator[int | None]:
    """Yields the descriptor of an exclusive lock, closed at the end; or None, if another process has the lock."""
    with opened(path) as descriptor:
        is_ours = False
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        yield descriptor if is_ours else None


def _close_all() -> None:
    """In a forked child: the threads that would close these are not here."""
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()


in_child(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=opening.acquire, after_in_parent=opening.release, after_in_child=opening.release)
