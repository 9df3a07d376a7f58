// Adds jobs with the official package: node add_jobs.js PORT QUEUE < one JSON object {data, opts} a line; prints their ids.
if (process.argv.length !== 4 || !process.env.NODE_PATH) {
  console.error('usage: add_jobs.js PORT QUEUE < JOBS (bench/hostile.py runs it)');
  process.exit(2);
}
const { createRequire } = require('node:module');
const path = require('node:path');
const modules = createRequire(path.join(process.env.NODE_PATH, 'x.js'));
const { Queue } = modules('bullmq');

const [port, name] = process.argv.slice(2);
const lines = require('node:fs').readFileSync(0, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
(async () => {
  const queue = new Queue(name, { connection: { host: '127.0.0.1', port: Number(port) } });
  for (let at = 0; at < lines.length; at += 200) {
    const jobs = await queue.addBulk(lines.slice(at, at + 200).map((line) => ({ name: 'process-photo', ...line })));
    for (const job of jobs) console.log(job.id);
  }
  await queue.close();
})();
