"""How fast, how punctual, how quiet: `python -m tests.benchmarks` measures it on a server of its own.

__main__    the command: which benchmarks there are, and what it prints
bench       ours and a reference in turn, and the figures that come of it
table       the figures as a table
bare        the reference: what anyone would write with redis-py alone
process     a process of its own, and how to talk to it; `worker` and `writer` are such processes
the others  a benchmark each, or a family
"""
