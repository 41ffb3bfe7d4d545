"""What is scheduled: a `Job` goes into a queue, and comes out as a `Due`.

A job is checked once, when it is made; afterwards every layer trusts it. Only how long its data may be is the queue's
to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from rx_runat.errors import InvalidJob, InvalidSetting
from rx_runat.model.checks import short, show
from rx_runat.model.data import NOT_NAMED, to_text
from rx_runat.model.humanize import late, readable, span, spell
from rx_runat.model.members import to_new_member
from rx_runat.model.rich import cards
from rx_runat.model.setters import setters
from rx_runat.model.times import RunAtTime, from_milliseconds, to_sent

KeepOne: TypeAlias = Literal["last", "first", "earliest", "latest"]
"""Which of two schedules of a key stands; one always does."""

Keep: TypeAlias = KeepOne | Literal["absent"]
"""What stands when a key is scheduled again."""

KEEP: tuple[Keep, ...] = ("last", "first", "earliest", "latest", "absent")

Wire: TypeAlias = tuple[int | str, str | bytes] | tuple[int | str, str | bytes, bytes]
"""A job as it is sent to Redis: its time (see `to_sent`), its key, and if it names data, that as JSON."""


class _Sent:
    """What a job has beside its fields."""

    __slots__ = ("wire",)

    if TYPE_CHECKING:

        @property
        def wire(self) -> Wire:
            """The job as it is sent to Redis, made once, when all of it is checked."""
            ...


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Job(_Sent):
    """A key, the moment for which it is scheduled, and what it carries.

    Args:
        key: a non-empty str, unique in its queue: scheduling it again moves it.
        run_at: an aware `datetime`; epoch seconds (`float` or `int`); or a `timedelta`, which stays a delay until
            Redis adds it to its own clock. It is rounded up to the millisecond. A moment in the past is kept, and is
            due at once; a negative delay counts as 0.
        data: any JSON value, written with the time. It is the key's: a job that names no data leaves what the key has;
            None drops that; any other value replaces it. What is written is the value at this moment: a dict that
            changes later changes nothing.

    Raises:
        InvalidJob: the key or the moment is invalid, or the data is no JSON value: a NaN, bytes, a tuple, an object
            whose keys are no str, or more than 200 lists and objects in each other.

    Example:
        >>> Job("a", 1700000000)
        Job(key='a', run_at=1700000000)
        >>> Job("a", 1700000000, data={"to": "ann"})
        Job(key='a', run_at=1700000000, data={'to': 'ann'})
        >>> Job("", 0)
        Traceback (most recent call last):
        rx_runat.errors.InvalidJob: key: got ''; a key is a non-empty str
    """

    key: str
    run_at: RunAtTime
    data: Any = field(default=NOT_NAMED, hash=False, kw_only=True)

    def __init__(self, key: str, run_at: RunAtTime, *, data: Any = NOT_NAMED) -> None:
        # As a frozen dataclass would write it, but faster; see `setters`.
        _set_key(self, key)
        _set_run_at(self, run_at)
        _set_data(self, data)
        self.__post_init__()

    def __post_init__(self) -> None:
        key = self.key
        if type(key) is str and key and key.isascii() and self.data is NOT_NAMED:  # the usual case, kept fast
            _set_wire(self, (to_sent(self.run_at), key))
        else:
            _set_wire(self, _wire(key, self.run_at, self.data))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), {each.name: getattr(self, each.name) for each in fields(self)})

    def __repr__(self) -> str:
        data = "" if self.data is NOT_NAMED else f", data={self.data!r}"
        return f"Job(key={self.key!r}, run_at={self.run_at!r}{data})"

    def _repr_html_(self) -> str:
        if isinstance(self.run_at, timedelta):
            when = f"{span(self.run_at.total_seconds())} after it is scheduled"
        else:
            when = f"for {spell(self.run_at)}"
        return cards().job_card("Job", self.key, f"{when}{self._data_text()}")

    def _data_text(self) -> str:
        """Returns the data as a part of a sentence; "" if it is not named, or None."""
        return "" if self.data is NOT_NAMED or self.data is None else f", data {readable(short(self.data), 60)}"


_set_key, _set_run_at, _set_data = setters(Job, "key", "run_at", "data")
(_set_wire,) = setters(_Sent, "wire")


@dataclass(frozen=True, slots=True, repr=False)
class Due(Job):
    """A job as it comes out of a queue: its `run_at` is always an aware datetime in UTC.

    A Due that is scheduled again names its data, None included, and so replaces what the key has got meanwhile. To
    leave that, schedule a `Job` of its key.

    Attributes:
        data: what the key carried when it was claimed or seen; None: nothing.
        lateness: seconds by which Redis's clock had passed `run_at` when the key was claimed. It is negative if
            `peek` saw the key while it waited. Equality ignores it: two Dues with equal key, `run_at` and data are
            equal.
    """

    run_at: datetime
    data: Any = field(default=None, hash=False, kw_only=True)
    lateness: float = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        """Check nothing: only a store makes Dues, and their keys and times were checked when they were scheduled."""

    def __repr__(self) -> str:
        return f"<Due {self.key!r} {self._state()}>"

    def _repr_html_(self) -> str:
        return cards().job_card("Due", self.key, self._state())

    def _state(self) -> str:
        return f"at {spell(self.run_at)}, {late(self.lateness)}{self._data_text()}"

    def __getattr__(self, name: str) -> Any:
        if name != "wire":  # made at its first use, because only a Due that is scheduled again needs it
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        _set_wire(self, _wire(self.key, self.run_at, self.data))
        return self.wire


def _wire(key: str, run_at: RunAtTime, data: object) -> Wire:
    member = to_new_member(key)
    word = key if key.isascii() else member  # hiredis packs a str faster than bytes
    if data is NOT_NAMED:
        return to_sent(run_at), word
    return to_sent(run_at), word, to_text(data)


def _restore(kind: type[Job], values: dict[str, Any]) -> Job:
    return kind(**values)


_Item: TypeAlias = Job | Mapping[str, Any]
Schedulable: TypeAlias = _Item | Sequence[_Item]
"""What the sink takes: a `Job`, runat's own `{"runAt": <epoch ms>, "key": <str>}`, or a list of either. The mapping may
have a third field, "data"."""


def to_jobs(item: object) -> list[Job]:
    """Returns the jobs of an item that came to the sink.

    Raises:
        InvalidJob: one of them is invalid. The message names its place in the list, the field, what came, and what
            would be right.
    """
    if type(item) is Job:
        return [item]
    if isinstance(item, list):
        if set(map(type, cast("list[object]", item))) == {
            Job
        }:  # the usual case, kept fast: 15 us for a list of a thousand
            return cast("list[Job]", item)
        return [_in_list(place, each) for place, each in enumerate(cast("list[object]", item))]
    return [_to_job(item)]


def check_keep(keep: object) -> Keep:
    """Returns `keep` itself if it is one of the policies.

    Raises:
        InvalidSetting: it is not. The message names them.
    """
    if keep not in KEEP:
        raise InvalidSetting(f"keep: got {show(keep)}; it must be one of {', '.join(map(repr, KEEP))}")
    return keep


def _in_list(place: int, item: object) -> Job:
    if type(item) is Job:
        return item
    try:
        return _to_job(item)
    except InvalidJob as error:
        raise InvalidJob(f"job {place} of the list: {error}") from None


def _to_job(item: object) -> Job:
    if isinstance(item, Job):
        _ = item.wire  # a Due was not checked yet: another client may have scheduled it with an empty key
        return item
    if isinstance(item, Mapping):
        return _from_mapping(cast("Mapping[object, object]", item))
    raise InvalidJob(
        f'job: got {show(item)}; schedule a Job(key, run_at), {{"runAt": <epoch ms>, "key": <str>}}, or a list of them'
    )


def _from_mapping(item: Mapping[object, object]) -> Job:
    for name in ("key", "runAt"):
        if name not in item:
            hint = '; "run_at" is for Job(key, run_at)' if name == "runAt" and "run_at" in item else ""
            raise InvalidJob(
                f'{name}: missing in {show(item)}; runat\'s form is {{"runAt": <epoch ms>, "key": <str>}}{hint}'
            )
    unknown = [name for name in item if name not in ("key", "runAt", "data")]
    if unknown:
        raise InvalidJob(f'{show(unknown[0])}: unknown field; runat\'s form has only "runAt", "key", and here "data"')
    to_new_member(item["key"])
    key, data = cast("str", item["key"]), item.get("data", NOT_NAMED)
    return Job(key, from_milliseconds(item["runAt"]), data=data)
