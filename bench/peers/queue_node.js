// The same work with the official Node worker: node queue_node.js PORT QUEUE JOBS SLOTS, with bullmq on NODE_PATH.
if (process.argv.length !== 6 || !process.env.NODE_PATH) {
  console.error('usage: queue_node.js PORT QUEUE JOBS SLOTS (bench/queue.py runs it)');
  process.exit(2);
}
const { createRequire } = require('node:module');
const path = require('node:path');
const modules = createRequire(path.join(process.env.NODE_PATH, 'x.js'));
const { Worker } = modules('bullmq5');
const Redis = modules('ioredis');

const [port, name, jobs, slots] = process.argv.slice(2);
const connection = { host: '127.0.0.1', port: Number(port) };
const events = new Redis(connection.port, connection.host);
let left = Number(jobs);
const cpu = process.cpuUsage();
const started = performance.now();
const worker = new Worker(name, async (job) => {
  await events.publish('bench.started', JSON.stringify({ photoId: job.data.photoId }));
  for (const percent of [10, 25, 35, 45, 75, 90, 95, 100]) await job.updateProgress(percent);
  await events.publish('bench.completed', JSON.stringify({ photoId: job.data.photoId }));
  return { success: true };
}, { connection, concurrency: Number(slots) });
worker.on('completed', async () => {
  if (--left) return;
  const { user, system } = process.cpuUsage(cpu);
  console.log(JSON.stringify({ cpu_s: (user + system) / 1e6, seconds: (performance.now() - started) / 1000 }));
  await worker.close();
  events.disconnect();
});
