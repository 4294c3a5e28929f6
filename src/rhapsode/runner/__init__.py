"""The runner: a supervisor that speaks to the server, and a child that holds the models.

supervisor  registers, claims, drains          ┐
execution   one job: heartbeat, media, result  │ this process
handle      the child, seen from outside       ┘
messages    what the two say to each other
child       the child's main, its pipes        ┐
workshop    models and the pipeline            ┘ the other process

The supervisor imports no engine, so nothing that an engine does can stop its heartbeats.
"""
