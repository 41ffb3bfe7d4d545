"""`app`: the page of a queue, as an ASGI app."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, cast

from rx_runat.drawing.poller import title_of
from rx_runat.drawing.scene import Scene
from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show
from rx_runat.model.times import to_ms
from rx_runat.queue import RunAt
from rx_runat.stream.ticks import Seconds
from rx_runat.ui.access import Access
from rx_runat.ui.actions import Actions
from rx_runat.ui.feed import Feed
from rx_runat.ui.guard import Guard, host_of
from rx_runat.ui.routes import make_routes
from rx_runat.ui.search import Search

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""The names under which a browser reaches a server of its own machine."""

_SHORTEST_TOKEN = 16  # characters: a shorter one is a word that somebody guesses


class Page(Guard):
    """The ASGI app that `app` returns."""

    def __init__(
        self, feed: Feed, access: Access, hosts: Iterable[str], is_local: bool, search: Search, actions: Actions
    ) -> None:
        super().__init__(make_routes(feed, access, search, actions), list(hosts), is_local)
        self._feed = feed

    def close(self) -> None:
        """End the streams of all viewers, and look no more. May be repeated.

        A server that waits for open connections when it stops, such as uvicorn, would wait for them.
        """
        self._feed.close()


def app(
    queue: RunAt,
    actions: bool = False,
    hosts: Iterable[str] = LOOPBACK,
    *,
    token: str | Literal[False] | None = None,
    window: Seconds = 10.0,
    lane: Callable[[str], object] | None = None,
) -> Page:
    """A page that shows a queue, live: what waits, what is out, and what died. An ASGI app, to serve or to mount.

        app = FastAPI()
        app.mount("/queue", rx_runat.ui.app(queue))

    It shows the timeline of the notebooks, the numbers, the next keys with their data, the keys that are out under a
    lease, and the dead letters; and it searches the keys that wait. It claims nothing. Nothing comes from another host.

    Who may look: without a token, everybody on this machine; if it has several users, each of them. Then a request is
    refused if it comes from another address than loopback, whatever host it names. With a token, who opened
    `./?token=...` once; a cookie keeps it, which the browser sends to other ports of the same host, too. There is one
    token, for looking and for acting. The page is encrypted if its server is (TLS); else whoever sees the traffic sees
    the token. A server or proxy that logs the addresses of requests, as uvicorn does by default, logs `./?token=...`
    with the token.

    Delivery:    a viewer who is slow, or whose network is, loses frames, and gets the latest one next.
    Clock:       Redis's; the viewer's clock only shows moments in its time zone.
    Scheduler:   two loops of its own while somebody looks; the event loop of the server is never blocked.
    Errors:      while Redis does not answer, the page says so. A stopped queue is said, too.
    Disposal:    the looks end when the last viewer leaves; hidden tabs do not count. The queue stays yours.
                 `close()` ends the streams: call it when your server stops, or give uvicorn a
                 `timeout_graceful_shutdown`, because it waits for open connections.
    Redis:       for all viewers together at most 20 snapshots a second, 4 while nothing changes; once a second the
                 numbers, the next 30 keys, the 30 leases that end first, and where there are at most 10,000, the oldest
                 30 dead letters, which are read again every 10 s or when their number changes. A search reads at most
                 100,000 keys, and one search runs at a time.

    Args:
        queue: the queue.
        actions: True: the page may cancel, reschedule, revive and drop keys.
        hosts: the host names under which browsers reach the page, without a port. A request that names another one is
            refused, because a foreign name may be made to lead here.
        token: the secret that a viewer must show, of at least 16 characters. None: none is needed, which is allowed for
            looking on loopback only. False: what this app is mounted in checks who asks; this app checks nobody.
        window: how many seconds of the future the timeline shows, as a number or a timedelta; half as many of the past.
        lane: returns the lane of a key in the timeline, as in `rx_runat.notebook.timeline`.

    Raises:
        InvalidSetting: an argument cannot be used.
    """
    if not isinstance(queue, RunAt):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSetting(f"queue: got {show(queue)}; it must be a RunAt")
    if lane is not None and not callable(lane):
        raise InvalidSetting(f"lane: got {show(lane)}; it must be a function of a key")
    window_ms = to_ms(window, "window", 0.1)
    names = _check_hosts(hosts)
    _check_token(token, needed=actions or not names <= set(LOOPBACK))
    feed = Feed(queue, lambda: Scene(title_of(queue), window_ms, lane))
    return Page(feed, Access(token or None), names, token is None, Search(queue), Actions(queue, allowed=bool(actions)))


def _check_hosts(hosts: object) -> set[str]:
    right = "names such as ['queue.example.org'], without a port"
    if isinstance(hosts, str) or not isinstance(hosts, Iterable):
        raise InvalidSetting(f"hosts: got {show(hosts)}; it must be a list of {right}")
    names: set[str] = set()
    for host in cast("Iterable[object]", hosts):
        if not isinstance(host, str) or not host or set(host) & set("/*@ ") or host_of(host) != host.lower():
            raise InvalidSetting(f"hosts: got {show(host)}; it must have {right}")
        names.add(host.lower())
    return names


def _check_token(token: object, needed: bool) -> None:
    if token is False:
        return
    if token is None:
        if needed:
            raise InvalidSetting(
                "token: got None; actions, and hosts other than loopback, want one, such as secrets.token_urlsafe(). "
                "If the app around this one checks who asks, say token=False"
            )
    elif not isinstance(token, str) or len(token) < _SHORTEST_TOKEN:
        kind = f"{len(token)} characters" if isinstance(token, str) else type(token).__name__
        raise InvalidSetting(
            f"token: got {kind}; it must be a str of at least {_SHORTEST_TOKEN}, such as secrets.token_urlsafe()"
        )
