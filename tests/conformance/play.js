'use strict';
// Plays the script that a job carries in `s3Key`, as ours.py does: the two must say the same to the queue.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

exports.play = async function play(job, redis, UnrecoverableError) {
  const attempt = job.attemptsMade + 1;
  const fail = (kind, code) => {
    const error = new kind(`${code}: attempt ${attempt} went wrong`);
    error.stack = `${error.message}\n    at the script`;
    throw error;
  };
  let value;
  await redis.rpush(`runs:${job.queueName}`, `${job.id}/${attempt}`);
  for (const step of job.data.s3Key.split(' | ')) {
    const [, name, argument] = step.match(/^([a-z-]+):?(.*)$/s);
    if (name === 'ok') value = argument ? JSON.parse(argument) : undefined;
    else if (name === 'progress') await job.updateProgress(Number(argument));
    else if (name === 'progress-times') for (let n = 0; n < argument; n++) await job.updateProgress(n);
    else if (name === 'log') await job.log(argument);
    else if (name === 'slow') await sleep(Number(argument));
    else if (name === 'gate') while (!(await redis.exists(`gate:${job.queueName}:${argument}`))) await sleep(5);
    else if (name === 'fail') fail(Error, argument);
    else if (name === 'fatal') fail(UnrecoverableError, argument);
    else if (name === 'fail-then-ok') attempt <= Number(argument) && fail(Error, 'STORAGE_UNAVAILABLE');
    else throw new Error(`unknown step ${step}`);
  }
  return value;
};
