"""fastproc: a photo-processing worker for BullMQ queues.

The map of the house. Imports go one way, downwards:

    __main__, cli          argv and exit codes
    demo                   embedded servers, pictures and the guided run
    app                    composition root: what is built, in which order it starts and stops
    supervisor             one process, asyncio: all I/O; the straight line of one job
    bullmq | backends      Redis scripts of BullMQ | object store, metadata store, event sink
    worker                 a jailed process: libvips, no network, no credentials
    ipc | config           messages, shared memory, channel | every setting, checked
    core                   pure decisions: no clock, no dice, no environment, no await

Glossary: a *job* is the queue's; a *task* is what a worker is given; a *stage* is a step of the pipeline;
a *source* is the input photo; a *rendition* is an output picture; a *blob* is shared memory; a *lane* is a
blob's place in one worker slot; a *slot* is a worker's place in the fleet; a *report* is what a worker found
and made; a *lock* is BullMQ's lease on an active job; an *attempt* is one try of a job.
"""

__version__ = "0.1.0"
