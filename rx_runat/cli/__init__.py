"""`rx-runat`: the queue as a Unix filter. Standard input is the sink, standard output the source.

    stdin --lines--> duplex --jobs--> queue --Dues--> duplex --lines--> pipe --> stdout

command     runs one of the commands, and says how it ends
arguments   what may stand on the command line, and what `--help` tells
opening     opens the queue that the options name
standard    the standard streams: closed ones, terminals, error messages, progress
lines       jobs, Dues and numbers as lines of text
duplex      schedules the lines that come in, and prints the keys that fall due
pipe        writes lines to standard output; a line is delivered when the reader has taken it
verbs       the commands that do what a verb of the queue does
dead        `rx-runat dead`
watch       `rx-runat stats --watch`: a line a second
live_table  the same on a terminal, as a table that stays in its place
ui          `rx-runat ui`: serves the page of the queue
ui_options  its options

A worker, `rx-runat work`:

    queue.claims --> settle(function or command) --> outcomes --> log

work           works until a signal comes or the stream fails
work_options   its options, and how they are read
importing      the function that it is told to import
exec           a command as the work on claims
child          one run of that command, in a process group of its own
work_log       its log, in words or as JSON
health         `/healthz`, which tells whether Redis answers
telemetry      metrics and traces, where the environment asks for them
"""

from rx_runat.cli.command import main

__all__ = ["main"]
