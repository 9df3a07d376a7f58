// The official worker with a handler that aborts its process for some photos, as a decoder's bug would:
// node crashmix_node.js PORT QUEUE CONCURRENCY, with bullmq on NODE_PATH. Started again by whoever started it.
if (process.argv.length !== 5 || !process.env.NODE_PATH) {
  console.error('usage: crashmix_node.js PORT QUEUE CONCURRENCY (bench/crashmix.py runs it)');
  process.exit(2);
}
const { createRequire } = require('node:module');
const path = require('node:path');
const modules = createRequire(path.join(process.env.NODE_PATH, 'x.js'));
const { Worker } = modules('bullmq');
const { setTimeout: pause } = require('node:timers/promises');

const [port, name, concurrency] = process.argv.slice(2);
const worker = new Worker(name, async (job) => {
  await pause(20); // fetching
  const until = performance.now() + 10; // decoding, on the thread that has everything
  while (performance.now() < until);
  if (job.data.kills) process.abort();
  await pause(20); // writing
  return { success: true };
}, {
  connection: { host: '127.0.0.1', port: Number(port) },
  concurrency: Number(concurrency), lockDuration: 2000, stalledInterval: 1000,
});
worker.on('error', () => {});
process.on('SIGTERM', () => worker.close().then(() => process.exit(0)));
