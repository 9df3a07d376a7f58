// The same work with the official Node worker: node queue_node.js PORT QUEUE JOBS SLOTS PAUSE_MS, bullmq on NODE_PATH.
if (process.argv.length !== 7 || !process.env.NODE_PATH) {
  console.error('usage: queue_node.js PORT QUEUE JOBS SLOTS PAUSE_MS (bench/queue.py runs it)');
  process.exit(2);
}
const { createRequire } = require('node:module');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const modules = createRequire(path.join(process.env.NODE_PATH, 'x.js'));
const { MetricsTime, Worker } = modules('bullmq5');
const Redis = modules('ioredis');

const [port, name, jobs, slots, pauseMs] = process.argv.slice(2);
const connection = { host: '127.0.0.1', port: Number(port) };
const events = new Redis(connection.port, connection.host);
const result = JSON.parse(process.env.RESULT);
const STAGES = ['validation', 'metadata', 'thumbnails', 'optimization', 'placeholder', 'phash'];
const pause = () => (Number(pauseMs) ? sleep(2 * Number(pauseMs) * Math.random()) : new Promise(setImmediate));

const say = (job, word, more, mark = '') => {
  const type = `photo.processing.${word}`;
  const about = { photoId: job.data.photoId, jobId: job.id, clientId: job.data.clientId, sessionId: null };
  const event = { id: `${job.id}:${word}:1${mark}`, type, timestamp: new Date().toISOString(), data: { ...about, ...more } };
  return events.publish(type, JSON.stringify(event));
};

const mark = async (job, progress) => {
  await job.updateProgress(progress);
  await say(job, 'progress', { progress }, `:${progress}`);
};

let left = Number(jobs);
const cpu = process.cpuUsage();
const started = performance.now();
const worker = new Worker(name, async (job) => {
  await mark(job, 10);
  await pause();
  await say(job, 'started');
  await pause();
  await mark(job, 25);
  for (const percent of [35, 45, 75, 90]) {
    await pause();
    await mark(job, percent);
  }
  await pause();
  for (const stage of STAGES) await job.log(`${stage}: 12.3 ms`);
  await pause();
  await pause();
  await mark(job, 95);
  await say(job, 'completed', result);
  await mark(job, 100);
  return result;
}, {
  connection,
  concurrency: Number(slots),
  removeOnComplete: { age: 86400, count: 1000 },
  metrics: { maxDataPoints: MetricsTime.TWO_WEEKS },
});
worker.on('completed', async () => {
  if (--left) return;
  const { user, system } = process.cpuUsage(cpu);
  console.log(JSON.stringify({ cpu_s: (user + system) / 1e6, seconds: (performance.now() - started) / 1000 }));
  await worker.close();
  events.disconnect();
});
