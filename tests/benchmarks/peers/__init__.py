"""Beside rx_runat, the job queues that people use with Redis: `python -m tests.benchmarks --peers`.

command  what `--peers` does: measure each, print one table
apps     how each queue is used: a job, a function that schedules, the command of a worker; one file for each
jobs     what all apps share: the URL of the server, and the job, which notes when it ran
app      the program that asks an app for its description, or lets it schedule; it runs under the peers' Python
peer     an app, as this process sees it
worker   a worker of an app in a process of its own: its notes and its CPU
measure  the four measurements: drain, lateness, idle, memory
table    the figures as a table
"""
