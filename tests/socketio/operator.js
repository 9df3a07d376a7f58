'use strict';
// The operator's page in a real Chromium: what a person would do and see, as one JSON object a line.
//
//   open {name, url, width, height, dark, token} | text {name, at} -> text | click {name, at} | fill {name, at, text}
//   press {name, key} -> what has the focus | hide {name}, show {name}: another window is in front of it, or not
//   told {name} -> what its console and its policy have said | wide {name} -> whether it scrolls sideways
//   asked {name} -> addresses that it has asked for, with their headers | look {name, script} -> value
//   picture {name, file} -> colours that are in it, at most 9 | done {name}
//
// Argument: the browser's program.

const { answer } = require('./lines.js');
const { chromium } = require('playwright-core');

const args = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];
const pages = {}, told = {}, asked = {};

// Headless, no window is ever behind another: what the page would be told is told here.
const visible = (name, is) => pages[name].evaluate((hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}, !is);

const operations = {
  async open({ name, url, width = 1280, height = 900, dark = false, token = '' }) {
    await pages[name]?.context().close();
    const context = await (await browser).newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' });
    const page = pages[name] = await context.newPage();
    const said = told[name] = [], requests = asked[name] = [];
    page.on('console', (message) => { if (message.type() !== 'log') said.push(`${message.type()}: ${message.text()}`); });
    page.on('pageerror', (error) => said.push(`error: ${error}`));
    page.on('dialog', (dialog) => { said.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('request', (request) => requests.push({ url: request.url(), method: request.method(), headers: request.headers() }));
    await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)));
    if (token) await page.addInitScript((given) => sessionStorage.setItem('fastproc-token', given), token);
    await page.goto(url);
  },
  text: ({ name, at }) => pages[name].locator(at).first().innerText(),
  click: ({ name, at }) => pages[name].locator(at).first().click(),
  fill: ({ name, at, text }) => pages[name].locator(at).fill(text),
  async press({ name, key }) {
    await pages[name].keyboard.press(key);
    return pages[name].evaluate(() => document.activeElement.id || document.activeElement.textContent.slice(0, 40));
  },
  hide: ({ name }) => visible(name, false),
  show: ({ name }) => visible(name, true),
  told: async ({ name }) => told[name],
  asked: async ({ name }) => asked[name],
  wide: ({ name }) => pages[name].evaluate(() => document.documentElement.scrollWidth > window.innerWidth),
  look: ({ name, script }) => pages[name].evaluate(script),
  picture: async ({ name, file }) => { await pages[name].screenshot({ path: file }); },
  done: async ({ name }) => { await pages[name].context().close(); },
};

const browser = chromium.launch({ executablePath: process.argv[2], args });
answer(operations, async () => (await browser).close());
