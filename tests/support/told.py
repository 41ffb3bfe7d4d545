"""What pictures in a notebook tell: a timeline by its description, a marble diagram by its titles.

The description is the one for screen readers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

LATE = ("over 20 ms late", "over 0.2 s late")
ON_TIME = "on time"


@dataclass(frozen=True)
class Told:
    """What a timeline tells.

    Attributes:
        said: the line above the picture: counts, or what became of the queue.
        keys: how many keys the picture shows, by the words of its legend.
    """

    said: str
    keys: dict[str, int]

    @classmethod
    def of(cls, label: str) -> Told:
        """Read a description: "Timeline of Q on URL: 1 scheduled · 0 due. It shows 1 waiting, 2 on time."."""
        match = re.fullmatch(r"Timeline of .*?: ([^:]*)\. It shows (.*)\.", label)
        assert match, label
        said, shown = match.groups()
        parts = [] if shown == "no keys" else [part.split(" ", 1) for part in re.split(r", (?=\d)", shown)]
        return cls(said, {words: int(number.replace(",", "")) for number, words in parts})

    def __getitem__(self, words: str) -> int:
        """How many keys are shown as this; 0 if none is."""
        return self.keys.get(words, 0)

    @property
    def received(self) -> int:
        """How many keys are shown as received by this process, late or not."""
        return self[ON_TIME] + sum(map(self.__getitem__, LATE))

    @property
    def is_stopped(self) -> bool:
        return "the queue was stopped" in self.said


def marbles_in(svg: str) -> list[str]:
    """The values that a marble diagram shows, stream by stream."""
    titles = [each.text or "" for each in ElementTree.fromstring(svg).iter() if each.tag.endswith("}title")]
    return [value for title in titles[1:] for value in title.split(", ")]
