"""fastproc: a photo-processing worker for BullMQ queues.

The map of the house. Imports go one way, downwards:

    commands               argv, and one file a command
    load                   a load test: arrivals, load generator, figures, plots
    demo | embedded        the guided tour | real servers as child processes, for it, the tests and the benchmarks
    terminal               what a person sees: progress, tables, contact sheet, log lines, exit codes
    app                    composition root: what is built, in which order it starts and stops
    bullmq | backends      the queue, by BullMQ's own scripts | object store, metadata store, event sink, quarantine
    master                 where there are several supervisors: starts them, and answers for all of them
    supervisor             one process, asyncio: all I/O; the straight line of one job; `workers` runs the processes
    worker                 a jailed process: libvips, no network, no credentials
    ipc | config           messages, shared memory, channel | every setting, checked
    core                   pure decisions: no clock, no dice, no environment, no await; `gate` judges files

`tests/unit/test_layers.py` has the plan as a table, and fails on an import that runs upward.

Glossary: a *job* is the queue's; a *task* is what a worker is given; a *stage* is a step of the pipeline;
a *source* is the input photo; a *rendition* is an output picture; a *blob* is shared memory; a *lane* is a
blob's place in one worker slot; a *slot* is a worker's place in the fleet; a *report* is what a worker found
and made; a *lock* is BullMQ's lease on an active job; an *attempt* is one try of a job.
"""

__version__ = "0.1.0"
