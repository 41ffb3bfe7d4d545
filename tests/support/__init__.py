"""What several tests use, one idea a file.

waiting         wait until a condition holds, without sleeping
servers         real servers that a test starts, kills, freezes and starts again
proxy           a proxy between client and server that cuts connections
stores          a store whose clock and replies the test sets
jobs            jobs that are due at once
awkward_values  values that misbehave, such as one whose repr raises
worker_pool     worker processes on one queue, which a test starts, stalls and kills
worker_main     the program of such a worker
work_log        the file in which workers log what they do, and the check of what it proves
run_notebooks   execute the notebooks
quick_nbformat  nbformat without its slowest import
"""
