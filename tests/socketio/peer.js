'use strict';
// Socket.IO's own servers and clients, driven over stdin and stdout: one JSON object a line,
// {id, op, ...} -> {id, ok} or {id, error}.
//
//   serve {server, adapter, client, key, nsp, recovery}   a server; `adapter`: pubsub, sharded, streams; `client`: redis, ioredis
//   connect {name, server, nsp, rooms}           a client, which is in these rooms when this returns
//   heard {name}                                 what it has heard: [event, arguments]
//   cut {name} / again {name}                    break the client's transport; wait until it is connected again
//   emit {server, nsp, rooms, said}              a broadcast by the server itself
//   emitter {key, nsp, rooms, said}              what redis-emitter would publish: [channel, base64]
//   stop {server}                                end the server and its clients
//
// Argument: the port of the Redis server.

const http = require('http');
const { answer } = require('./lines.js');
const { Server } = require('socket.io');
const { io: connect } = require('socket.io-client');
const { createAdapter, createShardedAdapter } = require('@socket.io/redis-adapter');
const { createAdapter: createStreamsAdapter } = require('@socket.io/redis-streams-adapter');
const { Emitter } = require('@socket.io/redis-emitter');
const { createClient } = require('redis');
const { Redis } = require('ioredis');

// The streams adapter leaves its own connections while they wait for an answer.
process.on('unhandledRejection', (error) => { if (error.name !== 'DisconnectsClientError') throw error; });

const port = Number(process.argv[2]);
const servers = {};
const clients = {};

async function connected(client) {
  const made = client === 'ioredis' ? new Redis({ host: '127.0.0.1', port }) : createClient({ socket: { host: '127.0.0.1', port } });
  made.on('error', () => {});
  if (client === 'redis') await made.connect();
  return made;
}

const adapters = {
  pubsub: (pub, sub, key) => createAdapter(pub, sub, { key }),
  sharded: (pub, sub, key) => createShardedAdapter(pub, sub, { channelPrefix: key }),
  streams: (pub, sub, key) => createStreamsAdapter(pub, { streamName: key }),
};

// The connections that wait for a stream's next entry.
async function reading(redis) {
  const list = await (redis.call ? redis.call('CLIENT', 'LIST') : redis.sendCommand(['CLIENT', 'LIST']));
  return list.split('\n').filter((line) => / cmd=xread /.test(line)).map((line) => /id=(\d+)/.exec(line)[1]);
}

async function until(happened) {
  while (!await happened()) await new Promise((again) => setTimeout(again, 5));
}

const operations = {
  async serve({ server, adapter, client, key, nsp, recovery }) {
    const redis = [await connected(client), await connected(client)];
    const before = await reading(redis[0]);
    const listener = http.createServer();
    const io = new Server(listener, {
      adapter: adapters[adapter](...redis, key),
      ...(recovery ? { connectionStateRecovery: {} } : {}),
    });
    // A test says which rooms; a real server must find out who that is.
    io.of(nsp).on('connection', (socket) => {
      if (!socket.recovered) socket.join(socket.handshake.auth.rooms);
      socket.emit('joined');
    });
    await new Promise((ready) => listener.listen(0, '127.0.0.1', ready));
    // What is broadcast before a server listens is not for it.
    const others = Object.values(servers).filter((other) => other.key === key).length;
    await until(async () => (adapter === 'streams'
      ? (await reading(redis[0])).some((each) => !before.includes(each))
      : await io.of(nsp).adapter.serverCount() > others));
    servers[server] = { io, redis, key, clients: [], url: `http://127.0.0.1:${listener.address().port}` };
  },
  connect: ({ name, server, nsp, rooms }) => new Promise((ready) => {
    const socket = connect(servers[server].url + nsp, { auth: { rooms }, transports: ['websocket'], reconnectionDelay: 10 });
    const heard = [];
    socket.onAny((event, ...said) => (event === 'joined' ? ready() : heard.push([event, said])));
    clients[name] = { socket, heard };
    servers[server].clients.push(socket);
  }),
  heard: ({ name }) => clients[name].heard,
  cut: ({ name }) => { clients[name].socket.io.engine.close(); },
  again: ({ name }) => new Promise((ready) => {
    const { socket } = clients[name];
    if (socket.connected) ready(socket.recovered);
    else socket.once('connect', () => ready(socket.recovered));
  }),
  emit: ({ server, nsp, rooms, said }) => { servers[server].io.of(nsp).to(rooms).emit(...said); },
  emitter({ key, nsp, rooms, said }) {
    let sent;
    const redis = { publish: (channel, message) => { sent = [channel, message.toString('base64')]; } };
    new Emitter(redis, { key }, nsp).to(rooms).emit(...said);
    return sent;
  },
  async stop({ server }) {
    const { io, redis, clients: own } = servers[server];
    own.forEach((socket) => socket.disconnect());
    await io.close();
    for (const each of redis) await (each.quit ? each.quit() : each.close());
  },
};

answer(operations);
