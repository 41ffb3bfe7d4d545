"""A Redis-backed scheduled queue as a reactive stream: schedule a key for a moment, receive it when it falls due.

    jobs --> RunAt (sink) --> stream --> store --> Redis
    keys <-- RunAt (source) <-- stream <-- store <-- Redis

errors        the tree of errors
model         values, and the protocols between the store and the Rx layers
store         Redis: connections, scripts, claims
stream        Rx: the sink, and the sources with their ticks and deliveries
settling      `settle`: work on claims, and what became of them
dead_letters  `queue.dead`
aio           `queue.aio`: the verbs as coroutines
queue         `RunAt`: a sink and a source on one store
drawing       what a queue looks like
otel          metrics and traces of a queue
notebook      live pictures, marble diagrams and cards
cli           the command `rx-runat`
testing       queues in virtual time, and faults on demand

In asyncio, `queue.aio` and `claim.aio` have the verbs as coroutines; `await` a pipeline, `async for` over `queue`,
`queue.jobs` or `queue.claims()`, and `async with RunAt(...)` use the event loop and never block it. A worker ends in
order with `settle(work, until=signals())`.

Each module or folder of this list is a layer. A layer imports only from layers above it in this list; `store` and
`stream` never import from each other. Each folder's docstring is its map, such as `help("rx_runat.stream")`. The README
has a "Map of the code", with the ways through it, and a "Glossary" of the words that the documentation uses. Some of
these docstrings also tell what users of one subject need: `help("rx_runat.store")` of servers, failovers and managed
services, `help("rx_runat.ui")` of the page, `help("rx_runat.otel")` of metrics and traces, `help("rx_runat.notebook")`
of pictures, and `help("rx_runat.errors")` of what can go wrong.
"""

from rx_runat.errors import (
    InvalidJob,
    InvalidSetting,
    NotReturned,
    OutcomeUnknown,
    Recovered,
    Refused,
    RunAtError,
    ServerError,
    Stopped,
    StoreError,
    Unavailable,
)
from rx_runat.model.claim import Claim
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.job import Due, Job
from rx_runat.model.outcome import Outcome
from rx_runat.model.rich import Cards, load_cards_with
from rx_runat.model.stats import Stats
from rx_runat.queue import RunAt
from rx_runat.settling.again import cron, every
from rx_runat.settling.backoff import exponential
from rx_runat.settling.operator import settle
from rx_runat.stream.driven import claim_from
from rx_runat.stream.signals import signals

__all__ = [
    "Claim",
    "DeadLetter",
    "Due",
    "InvalidJob",
    "InvalidSetting",
    "Job",
    "NotReturned",
    "Outcome",
    "OutcomeUnknown",
    "Recovered",
    "Refused",
    "RunAt",
    "RunAtError",
    "ServerError",
    "Stats",
    "Stopped",
    "StoreError",
    "Unavailable",
    "claim_from",
    "cron",
    "every",
    "exponential",
    "settle",
    "signals",
]


def _load_cards() -> Cards:
    """Import the cards when the first one is drawn: a program without a notebook does not pay for them."""
    from rx_runat.notebook import cards

    return cards


load_cards_with(_load_cards)
