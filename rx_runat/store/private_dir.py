"""A directory that only our own user can enter, and its files.

Whoever may write in a directory can put a symbolic link in the place of a file that we are about to write, and whoever
owns one can read all that we write. So the directory must be ours, with mode 0700; and what lies in it must be ours as
well, because it may have been open to others before. Whoever may write in a directory above it can put another one in
its place; so each of these belongs to us or to root, and nobody else may write in it, or only where it is sticky, as
/tmp is: there, others cannot rename what is ours.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rx_runat.errors import ServerError

_KINDS: Mapping[int, str] = MappingProxyType(
    {stat.S_IFREG: "a file", stat.S_IFDIR: "a directory", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a symbolic link"}
)


def private_dir(directory: str) -> Path:
    """Returns the real path of a directory that is ours alone; makes it, and its parents, if it is not there.

    Raises:
        ServerError: it is no directory that we can use, it belongs to somebody else, others may enter it, or others may
            replace it.
    """
    path, where = Path(directory), f"embedded://{directory}"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = path.resolve()
        found = home.stat()
        if found.st_uid != os.geteuid():
            raise ServerError(
                f"{where}: {home} belongs to {_owner(found)}, who could read and replace what is written there; name a "
                "directory of your own"
            )
        if found.st_mode & 0o077:
            raise ServerError(
                f"{where}: other users may read or write in {home} (its mode is {stat.S_IMODE(found.st_mode):03o}); "
                f"make it yours alone by chmod 700 {home}, or name another directory"
            )
        if not os.access(home, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable", directory)
        _check_parents(home, where)
    except OSError as error:
        raise ServerError(f"{where} needs a directory that can be written: {error}") from error
    return home


def _check_parents(home: Path, where: str) -> None:
    """Check that nobody but us, and who may do everything anyway, can put another directory in the place of `home`."""
    ours = os.geteuid()
    owners = {ours, 0, os.stat("/").st_uid}  # in a user namespace, root's files may belong to an id that stands for it
    groups = {ours, 0}  # a group with the number of a user is that user's alone, by the custom of useradd
    for parent in home.parents:
        found = parent.stat()
        if found.st_uid not in owners:
            wrong = f"{parent} belongs to {_owner(found)}, who"
        elif found.st_mode & stat.S_ISVTX:
            continue
        elif found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid not in groups):
            wrong = f"other users may write in {parent} (its mode is {stat.S_IMODE(found.st_mode):03o}), and"
        else:
            continue
        raise ServerError(
            f"{where}: {wrong} could put another directory in the place of {home}; name one where only you can do "
            "that, such as one below your home"
        )


def open_private(path: Path, flags: int) -> int:
    """Opens a file of ours, and makes it if `flags` say so. Follows no symbolic link, and waits for nobody.

    Raises:
        ServerError: something else lies in its place; see `check_private`.
        FileNotFoundError: it is not there.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise
    except OSError:
        check_private(path, stat.S_IFREG)  # says in words what lies there
        raise
    try:
        _check(path, os.fstat(descriptor), stat.S_IFREG)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_private(path: Path, *kinds: int) -> None:
    """Check that a path leads to nothing, or to what only we can have put there.

    Args:
        path: of a file in a directory that others cannot enter.
        kinds: the kinds of file that may lie there, of `stat.S_IFREG`, `stat.S_IFDIR` and `stat.S_IFSOCK`.

    Raises:
        ServerError: it is of another kind (a symbolic link, for instance), belongs to somebody else, or is a file with
            a second name elsewhere.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    _check(path, found, *kinds)


def _check(path: Path, found: os.stat_result, *kinds: int) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind not in kinds:
        right = " or ".join(_KINDS[each] for each in kinds)
        wrong = f"is {_KINDS.get(kind, 'a special file')}, and should be {right}"
    elif found.st_uid != os.geteuid():
        wrong = f"belongs to {_owner(found)}"
    elif kind == stat.S_IFREG and found.st_nlink > 1:
        wrong = "has a second name (a hard link) elsewhere"
    else:
        return
    raise ServerError(
        f"{path} {wrong}; perhaps somebody put it there to read or change your files, so it is not used: remove it if "
        "you know what it is, or name another directory"
    )


def _owner(found: os.stat_result) -> str:
    return f"another user (uid {found.st_uid})"
