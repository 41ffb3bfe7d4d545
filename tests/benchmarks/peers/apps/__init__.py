"""How each queue is used, as its users do it: with the default settings, and the worker's command that it brings.

Each file has the same names; `app` reads them:

WORKER    the arguments of Python that start a worker
PACKAGES  the distributions whose versions count
LOOKS     how the worker finds what is due, for the table
PROMISES  what a user can rely on with these settings, for the table; the docstring says where its source shows it
BACKLOG   how many jobs a drain takes: some seconds of its worker's time
schedule  schedule jobs, each a key and a moment in epoch seconds

stream         rx_runat, the plain stream
long_interval  the same with an interval of 5 s
claims         rx_runat, `claims` with `settle`
huey, arq, saq, rq, dramatiq
"""
