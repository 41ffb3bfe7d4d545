"""The function that `rx-runat work` is told to import, as `module:name`."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from functools import reduce
from types import ModuleType
from typing import Any

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show


def import_function(target: str) -> Callable[[Any], Any]:
    """Import a callable. The current directory is importable, and comes first.

    >>> import_function("os.path:join").__name__
    'join'
    >>> import_function("os.path:jion")
    Traceback (most recent call last):
    rx_runat.errors.InvalidSetting: os.path:jion: the module 'os.path' has no 'jion'; did you mean 'join'?

    Args:
        target: the module, a colon, and the name in it, which may have dots.

    Raises:
        InvalidSetting: there is no such module or name, or nothing callable has it; the message says what was tried.
        BaseException: whatever the module raises while it is imported.
    """
    module_name, _, name = target.partition(":")
    if not module_name or not name or module_name.startswith("."):
        raise InvalidSetting(f"{target!r}: it must be a module and the name of a function in it, such as app.jobs:send")
    sys.path.insert(0, os.getcwd())
    module = _import(target, module_name)
    try:
        found = reduce(getattr, name.split("."), module)
    except AttributeError:
        raise InvalidSetting(_nothing_of_that_name(target, module, name)) from None
    if not callable(found):
        raise InvalidSetting(f"{target}: it is {show(found)}; it must be callable with a claim")
    return found


def _import(target: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, and imports one that is not
        places = ", ".join(place or os.getcwd() for place in sys.path)
        raise InvalidSetting(
            f"{target}: {error}; tried the current directory {os.getcwd()}, and all of sys.path: {places}"
        ) from None
    except InvalidSetting as error:  # of the module itself, which opens a queue, for example: not of the command
        raise ImportError(str(error)) from error


def _nothing_of_that_name(target: str, module: ModuleType, name: str) -> str:
    place = getattr(module, "__file__", None)
    where = f" ({place})" if place else ""
    near = difflib.get_close_matches(name, dir(module), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{target}: the module {module.__name__!r}{where} has no {name!r}{hint}"
