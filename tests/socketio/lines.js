'use strict';
// Answers one JSON line on stdin by one on stdout: how the tests drive a Node process.
const readline = require('readline');

// `operations` by name; `close` runs when stdin has ended.
exports.answer = function answer(operations, close = () => {}) {
  readline.createInterface({ input: process.stdin }).on('line', async (line) => {
    const { id, op, ...command } = JSON.parse(line);
    let said;
    try {
      said = { id, ok: (await operations[op](command)) ?? null };
    } catch (error) {
      said = { id, error: String(error.message ?? error) };
    }
    process.stdout.write(`${JSON.stringify(said)}\n`);
  }).on('close', async () => {
    await close();
    process.exit();
  });
};
