"""`txrouter send` and `txrouter receive`: clients for a terminal, which work with any AMQP 1.0 server.

`arguments` makes `options` of a command line, and `program` runs a client in a process of its own: a `Producer`
(`send`) or a `Consumer` (`receive`). Both are a `Client`, which has a `Connection`. What they print is made by
`shown`, `report` and `bar`.
"""
