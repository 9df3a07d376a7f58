'use strict';
// Serves the page, and tells each browser of its own photos: live by fastproc's broadcasts (EVENTS_SOCKETIO=1), and
// what it missed from the stream (EVENTS_STREAM).

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');
const { createAdapter } = require('@socket.io/redis-adapter');
const { createClient } = require('redis');
const { Server } = require('socket.io');

const { HOST = '127.0.0.1', PORT = '3000', REDIS_URL = 'redis://localhost:6379/0', EVENTS_STREAM } = process.env;
const PAGE = fs.readFileSync(path.join(__dirname, 'index.html'));
// How far back a new page looks, and how much the clocks of the hosts may differ.
const PAST_MS = 600_000;
const CLOCKS_MS = 10_000;

// A browser is who has the cookie, which no script and no other site can read. Its room and its photos' clientId are a
// hash of that, so whoever knows the name of a room cannot join it. In an application this is your users' session.
const sessionOf = (request) => /(?:^|; )session=([\w-]{43})(?:;|$)/.exec(request.headers.cookie ?? '')?.[1];
const clientIdOf = (session) => crypto.createHash('sha256').update(session).digest('hex').slice(0, 20);

function page(request, response) {
  if (request.url !== '/') return response.writeHead(404).end();
  const session = sessionOf(request) ?? crypto.randomBytes(32).toString('base64url');
  const cookie = `session=${session}; HttpOnly; SameSite=Strict; Path=/`; // With https: Secure as well.
  return response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Set-Cookie': cookie }).end(PAGE);
}

async function missed(redis, clientId, since) {
  const from = Math.max(0, (Number.isFinite(since) ? since : Date.now() - PAST_MS) - CLOCKS_MS);
  const entries = await redis.xRange(EVENTS_STREAM, String(Math.floor(from)), '+');
  return entries.map((entry) => JSON.parse(entry.message.event)).filter((event) => event.data.clientId === clientId);
}

async function main() {
  const redis = createClient({ url: REDIS_URL });
  const hearing = redis.duplicate();
  for (const each of [redis, hearing]) {
    await each.on('error', (error) => console.error(`Redis: ${error.message}`)).connect();
  }
  const listener = http.createServer(page);
  const io = new Server(listener, { adapter: createAdapter(redis, hearing) });
  io.use((socket, next) => next(sessionOf(socket.request) ? undefined : new Error('no session: load the page first')));
  io.on('connection', async (socket) => {
    const clientId = clientIdOf(sessionOf(socket.request));
    // Before the past is read, so that nothing falls between; the page drops what it hears twice.
    socket.join(clientId);
    socket.emit('you', clientId);
    try {
      const past = EVENTS_STREAM ? await missed(redis, clientId, socket.handshake.auth.since) : [];
      for (const event of past) socket.emit(event.type, event);
    } catch (error) {
      console.error(`the past of ${clientId}: ${error.message}`);
    }
  });
  listener.listen(Number(PORT), HOST, () => console.log(`http://${HOST}:${listener.address().port}/`));
}

main();
