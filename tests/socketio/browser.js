'use strict';
// The page of examples/live_progress in a real Chromium: what a person would do and see, as one JSON object a line.
//
//   open {name, url, width, height} -> the client id that the page shows | cards {name} -> [[class, percent, text]]
//   tell {name, events}: as if the server had sent them | line {name} -> its line of state
//   reload {name} | picture {name, file} | wide {name} -> whether it scrolls sideways
//
// Argument: the browser's program. `newPage` is a window of its own, with cookies of its own.

const { answer } = require('./lines.js');
const { chromium } = require('playwright-core');

// As root there is no sandbox, and nothing of the browser's own may be looked up in the network.
const args = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];
const pages = {};

const operations = {
  async open({ name, url, width, height }) {
    const page = pages[name] = await (await browser).newPage({ viewport: { width, height } });
    await page.goto(url);
    const shown = await page.locator('#how:not(:empty)').textContent();
    return shown.split(' ').pop();
  },
  line: async ({ name }) => pages[name].locator('#line').textContent(),
  cards: async ({ name }) => pages[name].locator('#photos li').evaluateAll((cards) => cards.map((card) => [
    card.className, card.querySelector('progress').value, card.textContent,
  ])),
  tell: async ({ name, events }) => pages[name].evaluate((each) => each.forEach((event) => hear(event)), events),
  reload: async ({ name }) => { await pages[name].reload(); },
  picture: async ({ name, file }) => { await pages[name].screenshot({ path: file }); },
  wide: async ({ name }) => pages[name].evaluate(() => document.documentElement.scrollWidth > window.innerWidth),
};

const browser = chromium.launch({ executablePath: process.argv[2], args });
answer(operations, async () => (await browser).close());
