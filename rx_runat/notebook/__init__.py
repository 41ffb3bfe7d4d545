"""Queues and streams as pictures, for notebooks: see them while they run. Needs the `notebook` extra."""

from rx_runat.notebook.marbles import Marbles, marbles

__all__ = ["Marbles", "marbles"]
