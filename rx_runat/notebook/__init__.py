"""Queues and streams as pictures, for notebooks. Live pictures need the `notebook` extra.

    queue       --> timeline --> widget (drawing/poller, drawing/timeline.js)    a schedule that moves
    Observables --> marbles --> recording --> diagram, text_diagram              what streams did
    jobs        --> lateness --> recording --> distribution                     how late they came
    value       --> cards                                                       one line, or a small table

timeline      a live picture of a queue
widget        its `anywidget`, which polls the queue while a view is in sight; and stills of it
marbles       marble diagrams of real streams
lateness      how late keys come, as a distribution
recording     subscribes to streams for a while; the base of both
diagram       draws marble diagrams as SVG
labels        finds places for the labels of such a diagram
text_diagram  writes marble diagrams as text
distribution  draws how late keys came, as SVG
fresh         run a cell twice, and have one subscription
cards         the rich forms of queues, jobs, claims and dead letters, as HTML
display       shows pictures below a cell, and gives output back to its cell; the only file that imports IPython
"""

from rx_runat.notebook.fresh import fresh
from rx_runat.notebook.lateness import Lateness, lateness
from rx_runat.notebook.marbles import Marbles, marbles
from rx_runat.notebook.timeline import timeline

__all__ = ["Lateness", "Marbles", "fresh", "lateness", "marbles", "timeline"]
