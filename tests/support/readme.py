"""The code blocks of the README, as tests run them."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """The code blocks of a language; each with the `text` block that follows at once, which is its output, or ""."""
    found = [(each.group(1), each.group(2), each.start(), each.end()) for each in BLOCK.finditer(README.read_text())]
    pairs = []
    for place, (kind, code, _, end) in enumerate(found):
        following = found[place + 1] if place + 1 < len(found) else ("", "", 0, 0)
        is_output = following[0] == "text" and following[2] == end + 1
        if kind == language:
            pairs.append((code, following[1] if is_output else ""))
    return pairs


def files() -> dict[str, str]:
    """The `py` blocks, each a file whose first line is a comment that begins with its name."""
    return {code.split(":")[0].removeprefix("# "): code for code, _ in blocks("py")}
