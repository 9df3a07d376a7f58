'use strict';
// The official BullMQ, driven over stdin and stdout: one JSON object a line, {id, op, ...} -> {id, ok} or {id, error}.
//
//   queue {v, queue, method, args}            a method of Queue
//   job {v, queue, job, method, args}         a method of Job; without `method` the job itself
//   flow {v, args}                            FlowProducer.add
//   listen {v, queue} / heard {v, queue}      QueueEvents: begin; what it has heard
//   finished {v, queue, job, ttl}             Job.waitUntilFinished
//   work {v, queue, opts, handle}             a Worker whose processor plays the job's script; `idle`, `stop`
//   errors {handle}                           what the worker has emitted as errors
//   lua {v}                                   the Lua commands of the package, by file name
//   leave {queue}                             close what queues have open whose names begin so
//
// `v` is the major. Argument: the port of the server.

const Redis = require('ioredis');
const fs = require('fs');
const path = require('path');
const readline = require('readline');
const { play } = require('./play.js');

const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
const packages = { 4: 'bullmq4', 5: 'bullmq5', 6: 'bullmq' };
const bullmq = (v) => require(packages[v]);
// Errors of a connection are told by what was asked over it.
const quiet = (redis) => redis.on('error', () => {}).setMaxListeners(0);
const scripts = quiet(new Redis(connection));
const shared = {};
const open = { queue: {}, listener: {}, flow: {}, worker: {} };

// One connection a major for all queues: a test has a queue of its own, not a connection.
function link(v) {
  shared[v] ??= quiet(new Redis(connection));
  return shared[v];
}

async function queueOf({ v, queue }) {
  const key = `${v} ${queue}`;
  if (!open.queue[key]) {
    const made = quiet(new (bullmq(v).Queue)(queue, { connection: link(v) }));
    open.queue[key] = made.waitUntilReady().then(() => made);
  }
  return open.queue[key];
}

const jobOf = async (command) => {
  const found = await bullmq(command.v).Job.fromId(await queueOf(command), command.job);
  if (!found) throw new Error(`no job ${command.job}`);
  return found;
};

async function listenerOf({ v, queue }) {
  const key = `${v} ${queue}`;
  if (!open.listener[key]) {
    const made = new (bullmq(v).QueueEvents)(queue, { connection: { ...connection } });
    const heard = [];
    const names = ['added', 'waiting', 'active', 'progress', 'completed', 'failed', 'delayed', 'drained', 'stalled'];
    for (const name of [...names, 'retries-exhausted', 'waiting-children', 'paused', 'resumed', 'removed', 'error']) {
      made.on(name, (said) => heard.push([name, name === 'error' ? String(said) : said]));
    }
    open.listener[key] = made.waitUntilReady().then(() => Object.assign(made, { heard }));
  }
  return open.listener[key];
}

async function work({ v, queue, opts, handle }) {
  const { Worker, UnrecoverableError } = bullmq(v);
  const errors = [];
  const worker = new Worker(queue, (job) => play(job, scripts, UnrecoverableError), {
    ...opts,
    connection: { ...connection },
  });
  worker.on('error', (error) => errors.push(error.message));
  open.worker[handle] = { queue, worker, errors };
  await worker.waitUntilReady();
}

async function stop({ handle, force }) {
  const { worker } = open.worker[handle];
  delete open.worker[handle];
  await worker.close(force);
}

async function leave({ queue }) {
  const closing = [];
  for (const [handle, { queue: whose }] of Object.entries(open.worker)) {
    if (whose.startsWith(queue)) closing.push(stop({ handle, force: true }));
  }
  for (const kind of [open.queue, open.listener]) {
    for (const key of Object.keys(kind).filter((name) => name.slice(2).startsWith(queue))) {
      closing.push(kind[key].then((made) => made.close()));
      delete kind[key];
    }
  }
  await Promise.all(closing);
}

function lua({ v }) {
  const folder = path.join(path.dirname(require.resolve(packages[v])), 'scripts');
  const files = fs.readdirSync(folder).filter((name) => /-\d+\.js$/.test(name));
  const content = (name) => Object.values(require(path.join(folder, name))).find((found) => found.content).content;
  return Object.fromEntries(files.map((name) => [name.replace('.js', '.lua'), content(name)]));
}

const operations = {
  queue: async (command) => (await queueOf(command))[command.method](...(command.args ?? [])),
  job: async (command) => {
    const job = await jobOf(command);
    return command.method ? job[command.method](...(command.args ?? [])) : job;
  },
  flow: async ({ v, args }) => {
    open.flow[v] ??= quiet(new (bullmq(v).FlowProducer)({ connection: link(v) }));
    await open.flow[v].add(...args);
  },
  listen: async (command) => void (await listenerOf(command)),
  heard: async (command) => (await listenerOf(command)).heard,
  finished: async (command) => (await jobOf(command)).waitUntilFinished(await listenerOf(command), command.ttl),
  work,
  stop,
  errors: async ({ handle }) => open.worker[handle].errors,
  lua,
  leave,
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { id: command.id, ok: (await operations[command.op](command)) ?? null };
  } catch (error) {
    answer = { id: command.id, error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}).on('close', () => process.exit(0));

// The death of a connection at the end of a test is nobody's surprise.
process.on('unhandledRejection', (error) => process.stderr.write(`unhandled: ${error.stack}\n`));
