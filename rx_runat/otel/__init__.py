"""Metrics and traces of a queue, by the messaging conventions of OpenTelemetry. Needs the `otel` extra: its API alone.

    queue --monitor--> recorder --> instruments, spans     what this process does
    queue <--stats---- gauges   <-- a metrics reader       how the queue stands, for all processes

instrumentation  `instrument`: begins to measure a queue
recorder         measures what a queue does, as the queue's monitor
operation        one operation: its span, and how long it takes
instruments      the metrics: names, units, buckets
attributes       what metrics and spans say of the queue, an error and a key
gauges           counts of the queue, read when metrics are collected
environment      `instrument_by_environment`: measures a queue if the SDK's environment variables ask for it
guard            what fails in metrics and traces fails nothing else

Metrics, all with `messaging.system` (`rx_runat`) and `messaging.destination.name` (the queue's name), and with
`server.address` and `server.port` where the queue has one server:

    messaging.client.sent.messages        counter     jobs that were written, or that Redis was asked to write
    messaging.client.consumed.messages    counter     keys that subscribers received, as often as they did
    messaging.client.operation.duration   histogram   s; calls to Redis: schedule, claim (one that brought keys), ack,
                                                      nack, bury, extend, hand_back, begin; settle: several of these
    messaging.process.duration            histogram   s; the work of `settle`; a delivery of plain keys
    rx_runat.key.lateness                 histogram   s; how late keys were claimed, at their first attempt; of a claim
                                                      of more than ten, ten evenly spread: a record takes some 10 us
    rx_runat.queue.scheduled              gauge       keys that wait
    rx_runat.queue.due                    gauge       those of them that are due
    rx_runat.queue.claimed                gauge       keys that are out under a lease
    rx_runat.queue.dead                   gauge       dead letters
    rx_runat.queue.lateness               gauge       s; how late the oldest key that waits is

The first four also have `messaging.operation.name`, `messaging.operation.type` (send, receive, settle, process; none
where a lease goes on), and where the operation failed, `error.type`: the class of the error. The gauges ask Redis;
while Redis does not answer, they have no value.

Spans, named by the operation and the queue:

    schedule   client     jobs are written, by any verb or sink, `queue.aio` included
    process    consumer   one call of the work of `settle`, until that work is over; or one delivery of plain keys.
                          It is current meanwhile, so spans of your own become its children; not those in the body
                          of an `async for`, which is a task of its own
    ack, ...   client     one call to Redis about leases, by hand or in bulk

They have the same attributes, and besides `messaging.message.id`, the key, or `messaging.batch.message_count`; a
process span of one claim also has `messaging.rx_runat.attempt` and `messaging.rx_runat.lateness`. Keys stand on spans
only. A claim has no span, because nobody asks for it. No trace goes from the process that schedules to the one that
works, because all that Redis holds of a job is yours: to link the two, schedule `data` with a `traceparent` in it.

`instrument(queue)` is for programs of your own, which choose the SDK and the exporter; the README has a whole file for
Prometheus, and what to alert on. `rx-runat work` needs no code: with `OTEL_METRICS_EXPORTER=prometheus` it serves port
9464, on loopback. Any exporter can be named so, and one for spans by `OTEL_TRACES_EXPORTER`, if it is installed
together with the SDK. One process that shows the gauges of a queue is enough.
"""

try:
    from rx_runat.otel.environment import instrument_by_environment
    from rx_runat.otel.instrumentation import instrument
except ModuleNotFoundError as error:
    raise ImportError("rx_runat.otel needs the API of OpenTelemetry; pip install 'rx-runat[otel]'") from error

__all__ = ["instrument", "instrument_by_environment"]
