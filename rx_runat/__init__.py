"""A Redis-backed scheduled queue as a reactive stream: schedule a key for a moment, receive it when it falls due."""

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
from rx_runat.queue import RunAt
from rx_runat.settling.operator import exponential, settle

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
    "Stopped",
    "StoreError",
    "Unavailable",
    "exponential",
    "settle",
]
