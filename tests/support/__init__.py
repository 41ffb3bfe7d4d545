"""What several tests use, one idea a file.

waiting         wait until a condition holds, without sleeping
server_process  a server that runs in a process of its own: a test starts it, kills it, freezes it and starts it again
servers         real servers on a unix socket, and the kinds of servers that tests run on
node            a real server on a TCP port, and how clients get into it
sentinels       a primary with two replicas, and three Sentinels
fake_sentinel   a Sentinel that says what a test tells it to say
traffic         keys that are written and received all the time, while something happens to the servers
clusters        a cluster of three primaries and three replicas, and a slot that moves in steps
machines        state machines of Hypothesis, all run with the same settings
guardian        kills the servers that a killed run of the tests has left behind
proxy           a proxy between client and server that cuts connections
tls             a server behind TLS, with certificates made for the test
listening       what both proxies share: who connects
jobs            jobs that are due at once
teardown_limit  a time limit for the teardown of each test, which tells what every thread did
interruptions   an exception after so many lines of Python, as a signal handler may raise one anywhere
blocking        a handler that is quick for a while, and then blocks until a test releases it
awkward_values  values that misbehave, such as one whose repr raises

stores          stores whose clock and whose connection a test controls
failovers       a server whose place another one takes, which lacks what the former one did last
backlog         due keys on a real server, and a claimer that takes them
redis_content   what is in Redis, written and read without the store
scripts         the Lua scripts, and what a server does when they run
leases          the whole of Redis as a value, and states of leases that tests begin with

providers       credential providers of users, which change what they give
permissions     a user whose permissions a test takes away and gives back
whereabouts     where each key is, written to Redis by name and read back
verb            a verb of the store as a value: how to ask for it, and what its reply must have done
verbs_of_claims, verbs_beside   the verbs of claims, and all others
verb_table      every verb, at every place of a key that makes a difference
refusals        one cell of the refusal matrix: a state, a fault, a verb, and what must be true afterwards

settling        jobs, works that a test ends by hand, and short forms of outcomes
script          a script in a process of its own
forks           a forked child of the process of the tests, and what it returns
signals         processes that Ctrl-C ends, wherever the tests run
command         `rx-runat` as a process
cli_worker      `rx-runat work` as a process, and the functions that it works with
telemetry       metrics and spans of OpenTelemetry, collected in memory
scenes          what snapshots and claims put into a picture
overprint       what of an SVG picture stands on something else, or outside of the picture
colors          how colours look: contrast, distance, and what the colour-blind see of them
pictures        frames that are hard to draw, and what the timeline writes when it draws them in a browser

worker_pool     worker processes on one queue, which a test starts, stalls and kills
worker_main     the program of such a worker
list_worker     the program of a worker that settles lists of claims, and kills itself
chain_worker    a worker on a chain of runs
work_log        the file in which workers log what they do, and the check of what it proves

readme          the code blocks of the README
web             the README's web app as a process, and the service that its worker calls
asking          asks the page of a queue over ASGI, as a browser does
page            the page of a queue in headless Chromium, and `rx-runat ui` as a process
run_notebooks   execute the notebooks
browser         JupyterLab on loopback, and headless Chromium that shows it
told            what pictures in a notebook tell, as counts
quick_nbformat  nbformat without its slowest import
"""
