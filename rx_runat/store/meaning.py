"""What an error of redis-py means: does it heal, or does it stay until somebody does something?

The first word of the server's message decides; redis-py's classes do not tell what heals from what does not. Where no
server has spoken, the system's error below redis-py's decides: a certificate that is not trusted stays, whatever it is
wrapped in.
"""

from __future__ import annotations

import errno
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, TypeVar

import redis
from redis.exceptions import AuthorizationError

from rx_runat.errors import Refused, StoreError, Unavailable

E = TypeVar("E", bound=Exception)

_HEALS = {
    "LOADING",
    "READONLY",
    "OOM",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MOVED",
    "ASK",
    "MASTERDOWN",
    "NOREPLICAS",
    "BUSY",
    "MISCONF",
    "UNBLOCKED",
}
# Servers before 7 wrap the error of a command in a script: "ERR Error running script (...): @user_script:9: -OOM ..."
_INSIDE = re.compile(r"@user_script[^A-Z]*?-?([A-Z]{3,}) ")

# What breaks a TLS connection that was fine, or may be fine the next time: a server that restarts ends it anywhere.
_BROKEN_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError)
_TLS_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")


def meaning(error: Exception, where: str, settings: Mapping[str, Any], hint: str = "") -> StoreError:
    """Converts an error of redis-py, after which the command was certainly not done, to an error of ours.

    Args:
        error: what redis-py raised.
        where: the server's name in messages, without its password.
        settings: of the connection.
        hint: what the user can do when nothing answers.
    """
    code, text = _said(error)
    if code in _HEALS:
        return Unavailable(f"{where} cannot do it now: {text}")
    if isinstance(error, redis.AuthenticationError | AuthorizationError):
        return Refused(f"{where} refuses our user or password: {text}")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError) or not isinstance(error, redis.RedisError):
        return _not_connected(error, where, settings) or Unavailable(f"nothing answers at {where}: {text}{hint}")
    return Refused(f"{where} refuses: {text}")


def own_copy(error: E) -> E:
    """Returns an error for one of several callers: who raises it, or adds to its message, changes it for no other."""
    own = copy(error)
    own.__cause__ = error.__cause__
    return own


def first_word(error: Exception) -> str | None:
    """Returns the first word of the server's message, where redis-py knows that word and takes it off the text."""
    return getattr(error, "status_code", None)


def text_of(error: Exception) -> str:
    """Returns an error's text as a part of a sentence, without the full stop that some have."""
    return str(error).rstrip(". ")


def _said(error: Exception) -> tuple[str, str]:
    """Returns the word that decides, and the text that begins with it; the word ERR, which says nothing, is left out.

    >>> _said(redis.ResponseError("BUSY Redis is busy running a script."))
    ('BUSY', 'BUSY Redis is busy running a script')
    >>> _said(redis.exceptions.MovedError("9030 host:7002", status_code="MOVED"))
    ('MOVED', 'MOVED 9030 host:7002')
    >>> _said(redis.ResponseError("ERR Error running script: @user_script:9: -OOM command not allowed."))
    ('OOM', 'OOM command not allowed')
    """
    text = text_of(error)
    known = first_word(error)
    code = known or text.split(" ", 1)[0]
    inside = _INSIDE.search(text)
    if inside and code not in _HEALS:
        return inside.group(1), text[inside.start(1) :]
    return code, f"{known} {text}" if known and known != "ERR" else text


def _not_connected(error: Exception, where: str, settings: Mapping[str, Any]) -> StoreError | None:
    """Returns what the system's error below an error of redis-py means; None: nothing but that nobody answers."""
    cause = next((each for each in _causes(error) if isinstance(each, OSError)), None)
    if cause is None or isinstance(cause, _BROKEN_TLS):
        return None
    if cause.errno in (errno.EMFILE, errno.ENFILE) and not isinstance(cause, ssl.SSLError):
        return Unavailable(f"this process can open no connection to {where}: {os.strerror(cause.errno)}")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Refused(
            f"the certificate of {where} is not trusted: {cause.verify_message.rstrip('. ')}; it must name this host, "
            "and be signed by an authority whose certificate is in the file that ssl_ca_certs names"
        )
    for name in _TLS_FILES:
        try:
            if settings.get(name):
                os.close(os.open(settings[name], os.O_RDONLY))
        except OSError as unread:
            return Refused(f"{where} cannot be reached by TLS: {name} cannot be read: {unread}")
    if isinstance(cause, ssl.SSLError):
        advice = "; does it speak TLS? Without TLS its URL begins with redis://"
        named = "".join(f", {name} is {settings[name]!r}" for name in _TLS_FILES if settings.get(name))
        is_plain = cause.reason == "WRONG_VERSION_NUMBER"
        return Refused(f"{where} cannot be reached by TLS: {text_of(cause)}{advice if is_plain else named}")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__
