"""Reads the URL of a server as redis-py does, but refuses what redis-py silently drops, and says what is wrong.

A password with a `#`, `/` or `?` in it cuts a URL in two: `redis://:#secret@host` would be localhost, with no password.
No message shows a part of the URL that may be one of a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import redis

from rx_runat.errors import InvalidSetting

_ENCODE = (
    "in a user or password, write special characters percent-encoded: # as %23, / as %2F, ? as %3F, @ as %40, : as "
    "%3A, % as %25"
)

_HOSTS = re.compile(r"(rediss?)\+[a-z]+://(?:([^/?]*)@)?([^/?@]*)(/[^?]*)?(?:\?(.*))?", re.DOTALL)
_HOST = re.compile(r"(\[[^][@/?#,\s]+\]|[^][:@/?#,\s]+)(?::([1-9][0-9]{0,4}))?")


def client_of(url: str, tried: Callable[[redis.Redis], redis.Redis], forms: str) -> redis.Redis:
    """Returns redis-py's client of a URL.

    Args:
        url: as redis-py takes it.
        tried: returns a client, or raises if a connection cannot be made with its settings.
        forms: what could be passed instead of a URL, for the message.

    Raises:
        InvalidSetting: the URL cannot be read; the message names the option that is wrong, and no value.
        OSError: it is not the URL's fault.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refusal(f"a URL that cannot be read; {_ENCODE}; it must be {forms}") from None
    if "#" in url:
        raise _refusal(f"a URL with a # in it, which would end the URL; {_ENCODE}")
    if _has_late_login(parts):
        raise _refusal(f"a URL with an @ behind its host, where no user or password is read; {_ENCODE}")
    if parts.scheme in ("redis", "rediss") and not re.fullmatch(r"/?[0-9]*", parts.path):
        raise _refusal("a URL whose path is no number of a database; it must be such as redis://localhost:6379/0")
    try:
        return tried(redis.Redis.from_url(url))  # pyright: ignore[reportUnknownMemberType]
    except OSError:
        raise
    except Exception:  # its text may quote a part of the password
        wrong = [] if "@" in parts.query else _unreadable(parts, tried)
    if wrong:
        elsewhere = parts.scheme == "redis" and any(name.startswith("ssl_") for name in wrong)
        advice = ": options for TLS go with rediss://" if elsewhere else ", or that redis-py does not take"
        raise _refusal(f"a URL with an option that cannot be read{advice}: {', '.join(wrong)}")
    raise _refusal(f"a URL that cannot be read; {_ENCODE}; it must be {forms}")


class Hosts(NamedTuple):
    """What a URL with several hosts says.

    Attributes:
        clients: redis-py's, one for each host.
        path: the parts of the path.
        options: those that were asked for.
    """

    clients: list[redis.Redis]
    path: list[str]
    options: dict[str, str]


def hosts_of(
    url: str, port: int, own: Collection[str], tried: Callable[[redis.Redis], redis.Redis], forms: str
) -> Hosts:
    """Returns redis-py's clients of a URL such as `redis+cluster://user:password@host:port,host:port/path?option=value`.

    Args:
        url: with a scheme such as `redis+cluster` or `rediss+cluster`: `rediss` stands for TLS.
        port: the default one.
        own: names of options that redis-py does not take, and that are returned.
        tried: as in `client_of`.
        forms: as in `client_of`.

    Raises:
        InvalidSetting: as in `client_of`.
        OSError: it is not the URL's fault.
    """
    found = _HOSTS.fullmatch(url)
    if found is None:
        raise _refusal(f"a URL that cannot be read; {_ENCODE}; it must be {forms}")
    scheme, login, hosts, path, asked = found.groups(default="")
    names = [part.partition("=")[0] for part in asked.split("&")]
    if "#" in url or "@" in login or "@" in path or any("@" in name for name in names):
        raise _refusal(f"a URL with a # in it, or with an @ that does not end its user and password; {_ENCODE}")
    addresses = [_HOST.fullmatch(each) for each in hosts.split(",")]
    if not all(addresses):
        raise _refusal("a URL with a host that cannot be read; it must be such as host:port,[::1]:port, without spaces")
    query = parse_qsl(asked, keep_blank_values=True)
    options = {name: value for name, value in query if name in own}
    # An @ stays as it is: `client_of` names no option of a URL in which one stands, for it may be of a password.
    rest = urlencode([(name, value) for name, value in query if name not in own], safe="@")
    before, behind = f"{scheme}://{login}{'@' if login else ''}", f"{'?' if rest else ''}{rest}"
    urls = [f"{before}{each[1]}:{each[2] or port}{behind}" for each in addresses if each]
    parts = path[1:].removesuffix("/").split("/") if path.strip("/") else []
    return Hosts([client_of(each, tried, forms) for each in urls], [unquote(part) for part in parts], options)


def _refusal(what: str) -> InvalidSetting:
    return InvalidSetting(f"redis: got {what} (the URL is not shown: it may hold a password)")


def _has_late_login(parts: SplitResult) -> bool:
    """True if an `@` stands where redis-py reads no login, so that the login was cut by one of its own characters."""
    if parts.scheme == "unix":
        return ":" in parts.netloc and "@" not in parts.netloc
    names = (part.partition("=")[0] for part in parts.query.split("&"))
    return "@" in parts.path or any("@" in name for name in names)


def _unreadable(parts: SplitResult, tried: Callable[[redis.Redis], redis.Redis]) -> list[str]:
    """Returns the names of the options with which no connection can be made."""
    wrong: list[str] = []
    for name, value in parse_qsl(parts.query):
        try:
            tried(redis.Redis.from_url(f"{parts.scheme}://localhost?{quote(name)}={quote(value)}"))  # pyright: ignore[reportUnknownMemberType]
        except Exception:
            wrong.append(name)
    return wrong
