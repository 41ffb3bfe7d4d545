"""Benchmarks: `python -m tests.benchmarks` runs them on servers of its own. `README.md` has the figures.

__main__     the command: the list of benchmarks, and what it prints
servers      the servers to measure on
bench        measure ours and a reference in turn; a figure is a `Row`
bare         the references: what one writes with redis-py alone
process      a process that a benchmark sends requests to
worker       the program of such a process: it has sources, and notes when keys came
poller       the program of such a process: it polls as npm runat does
writer       the program of such a process: it writes keys at a steady rate
drain        how fast a backlog is received, plain and behind operators
scheduling   how fast the sink writes, in lists and one by one
awaits       how fast awaits schedule, beside redis.asyncio
settling     how fast claims are settled
server_time  what our scripts cost the server, for each key
lateness     how late keys come
backlog      what one due key costs while a million others wait
memory       bytes a key in Redis
idle         round trips and CPU of a source without work, and of plain polling
herd         many sleeping sources, and one key at a time
peers        beside rx_runat, other job queues: a folder
storm        many sleeping sources, and ten thousand writes a second
table        the figures as a table
picture      lateness as a picture
"""
