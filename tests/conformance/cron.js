// What BullMQ's own strategy makes of patterns: one line of JSON in, [[pattern, tz, base ms, seed or null]], one out for each major.
'use strict';

const { createRequire } = require('module');

// The parser that the major's package itself requires.
const parserOf = (major) => createRequire(require.resolve(major))('cron-parser');

const older = parserOf('bullmq5');
const newer = parserOf('bullmq');

function next(parse, pattern, tz, base, seed) {
  try {
    const options = { currentDate: new Date(base), tz: tz || undefined, hashSeed: seed || undefined };
    return parse(pattern, options).next().getTime();
  } catch (error) {
    return null;
  }
}

for (const line of require('fs').readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const [pattern, tz, base, seed] = JSON.parse(line);
  const five = next(older.parseExpression.bind(older), pattern, tz, base, seed);
  const six = next((text, options) => newer.CronExpressionParser.parse(text, options), pattern, tz, base, seed);
  process.stdout.write(JSON.stringify([five, six]) + '\n');
}
