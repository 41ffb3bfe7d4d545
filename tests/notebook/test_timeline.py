"""The timeline as a widget: its output, its views, its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from xml.etree import ElementTree

import pytest

from rx_runat import InvalidSetting, Job, RunAt
from rx_runat.notebook import timeline
from rx_runat.notebook.widget import Still, Timeline
from tests.support.waiting import wait_until


@pytest.fixture
def shown(queue: RunAt) -> Iterator[Timeline]:
    queue.on_next([Job("tea", timedelta(seconds=3)), Job("bus", 1)])
    widget = timeline(queue, 5)
    yield widget
    widget.close()


def test_its_output_holds_a_static_picture_beside_the_live_view(shown: Timeline) -> None:
    data, _ = shown._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "image/svg+xml", "text/plain"} <= set(data)
    assert "tea" in " ".join(ElementTree.fromstring(data["image/svg+xml"]).itertext())
    assert data["text/plain"] == repr(shown)
    assert repr(shown).startswith("<Timeline of RunAt~default on unix://")
    assert "2 scheduled · 1 due" in repr(shown)


def test_a_view_that_comes_into_sight_starts_it_again_and_closing_ends_it(shown: Timeline) -> None:
    shown.poller.viewers._silent = 69
    shown.poller.stop()
    shown._handle_custom_msg({"view": "here"}, [])
    assert shown.poller.is_running
    assert shown.poller.viewers._silent < 69
    shown.close()
    shown.close()
    assert not shown.poller.is_running


def test_a_second_display_is_a_still_of_its_moment(queue: RunAt, shown: Timeline) -> None:
    shown._repr_mimebundle_()
    frame = shown.poller.poll()
    second, _ = shown._repr_mimebundle_()
    assert second["application/vnd.jupyter.widget-view+json"]["model_id"] != shown.model_id
    assert "2 scheduled" in second["text/plain"]
    still = Still(frame)
    queue.cancel("tea")
    wait_until(lambda: shown.frame["counts"]["scheduled"] == 1, "the live picture goes on")
    assert (still.frame["state"], still.frame["counts"]["scheduled"]) == ("still", 2)


def test_arguments_are_checked(queue: RunAt) -> None:
    with pytest.raises(InvalidSetting, match="queue: got 'q'"):
        timeline("q")  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting, match="window: got 0"):
        timeline(queue, 0)
    with pytest.raises(InvalidSetting, match="lane: got 'x'"):
        timeline(queue, lane="x")  # type: ignore[arg-type]


def test_without_the_extra_it_says_what_to_install(queue: RunAt, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "rx_runat.notebook.widget", None)
    with pytest.raises(InvalidSetting, match=r"pip install 'rx-runat\[notebook\]'"):
        timeline(queue)
