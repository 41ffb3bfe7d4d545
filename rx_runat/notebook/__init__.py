"""Queues and streams as pictures, for notebooks: see them while they run. Needs the `notebook` extra."""

from rx_runat.notebook.fresh import fresh
from rx_runat.notebook.lateness import Lateness, lateness
from rx_runat.notebook.marbles import Marbles, marbles
from rx_runat.notebook.timeline import timeline

__all__ = ["Lateness", "Marbles", "fresh", "lateness", "marbles", "timeline"]
