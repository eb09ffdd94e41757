"""`txrouter send`, `receive` and others: clients for a terminal. The first two work with any AMQP 1.0 server.

`arguments` makes `options` of a command line, and `program` runs a client in a process of its own: a `Producer`
(`send`), a `Consumer` (`receive`), or a `Question` (`ask`), by which `txrouter explain` and `record` ask a router about
itself. All are a `Client`, which has a `Connection`. What they print is made by `shown`, `report`, `bar` and
`explained`.
"""
