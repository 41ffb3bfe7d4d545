"""A command as the work on claims: `rx-runat work --exec 'CMD {}'` runs it once for each key."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shlex
import shutil
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from rx_runat.cli.child import Child
from rx_runat.errors import InvalidSetting
from rx_runat.model.claim import Claim
from rx_runat.model.safe_log import inform
from rx_runat.settling.failures import WorkFailed

_KEY = "{}"
_TERM_SECONDS = 2.0  # for a command to clean up after SIGTERM, before SIGKILL; `settle` itself waits for 5 s


def split(template: str) -> list[str]:
    """Returns the words of a command as a shell would split it. Nothing else of a shell is known here.

    >>> split("curl -d @- 'https://example.org/a b' -- {}")
    ['curl', '-d', '@-', 'https://example.org/a b', '--', '{}']

    Raises:
        InvalidSetting: there is no such command; the message says what was wrong.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise InvalidSetting(f"--exec: got {template!r}, which cannot be split into words: {error}") from None
    if not words or words[0] == _KEY:
        raise InvalidSetting(f"--exec: got {template!r}; its first word must be a command, such as in 'CMD {{}}'")
    if shutil.which(words[0]) is None:
        raise InvalidSetting(f"--exec: there is no command {words[0]!r}; PATH is {os.environ.get('PATH', '')!r}")
    return words


class Command:
    """The work of `settle`: runs a command for a claim.

        status 0          the work is done
        any other         it failed; the last line of standard error is the reason
        cancelled         by a timeout or a lost lease: its process group is ended, by SIGTERM and 2 s later by SIGKILL
        impossible key    one that holds a NUL, or is too long for a word of a command: buried at once

    Args:
        words: of the command; each `{}` is replaced by the key.
        threads: wait for commands, one each.
    """

    def __init__(self, words: Sequence[str], threads: ThreadPoolExecutor) -> None:
        self._words = [None if word == _KEY else os.fsencode(word) for word in words]
        self._threads = threads

    async def __call__(self, claim: Claim) -> None:
        """Run the command.

        Raises:
            WorkFailed: the command failed, or cannot be started with this key.
        """
        key = claim.key.encode(errors="surrogateescape")
        if b"\0" in key:
            await self._bury(claim, "the key holds a NUL, and so cannot be a word of a command")
        words = [key if word is None else word for word in self._words]
        child = Child(words, {b"RX_RUNAT_KEY": key}, partial(_log_line, claim.key))
        try:
            status = await self._run(child, json.dumps(claim.data).encode() + b"\n")
        except OSError as error:
            if error.errno == errno.E2BIG:
                await self._bury(claim, "the key is too long for a word of a command")
            raise WorkFailed(f"the command could not be started: {error}") from None
        if status != 0:
            raise WorkFailed(child.last_line or _ending(status))

    async def _run(self, child: Child, data: bytes) -> int:
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, child.run, data)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            child.end(signal.SIGTERM)
            killing = loop.call_later(_TERM_SECONDS, child.end, signal.SIGKILL)
            while not running.done():
                with suppress(asyncio.CancelledError):  # once more, by the end of the event loop
                    await asyncio.wait({running})
            killing.cancel()
            raise

    async def _bury(self, claim: Claim, reason: str) -> None:
        await claim.aio.bury(reason)
        raise WorkFailed(reason)


def _log_line(key: str, line: str) -> None:
    inform("%r: %s", key, line, about={"key": key})


def _ending(status: int) -> str:
    if status > 0:
        return f"the command ended with status {status}"
    try:
        return f"the command was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"the command was ended by signal {-status}"
