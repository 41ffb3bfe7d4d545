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

Looking takes no keys. Where Jupyter displays a timeline again, in a later cell, it is a still of that moment; in marimo
it is live there, too.

In a notebook, `await` a pipeline instead of calling `.run()`, which keeps the kernel busy while it waits. If you
interrupt either of them, it leaves, and its keys go back. Two exceptions: ipykernel ends an `await` when its event loop
has something to do next, such as the next key; and behind `ops.share` an interrupted `.run()` stays subscribed and
takes keys until the queue is stopped, as `fresh("queue", RunAt, ...)` does when its cell runs again.
"""

from rx_runat.notebook.fresh import fresh
from rx_runat.notebook.lateness import Lateness, lateness
from rx_runat.notebook.marbles import Marbles, marbles
from rx_runat.notebook.timeline import timeline

__all__ = ["Lateness", "Marbles", "fresh", "lateness", "marbles", "timeline"]
