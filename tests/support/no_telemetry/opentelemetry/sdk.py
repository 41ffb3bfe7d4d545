"""Stands before the real `opentelemetry.sdk` on the path of most processes: see `tests/support/hidden_telemetry.py`."""

raise ModuleNotFoundError(f"No module named {__name__!r}", name=__name__)
