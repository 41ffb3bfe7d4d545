"""`rx-runat`: the queue as a Unix filter. Standard input is the sink, standard output the source.

    stdin --lines--> duplex --jobs--> queue --Dues--> duplex --lines--> pipe --> stdout

command    parses the arguments, opens the queue and runs one of the commands
standard   the standard streams: closed ones, terminals, error messages, progress
lines      jobs and Dues as lines of text
duplex     schedules the lines that come in, and prints the keys that fall due
telemetry  metrics and traces, where the environment asks for them
pipe       writes lines to standard output; a line is delivered when the reader has taken it
"""

from rx_runat.cli.command import main

__all__ = ["main"]
