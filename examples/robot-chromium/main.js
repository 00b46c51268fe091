#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// robot-chromium - a robot for Chasqui that drives Debian's Chromium: one browser context a session.
//
//   node main.js --portal sunat=http://127.0.0.1:9100 [--listen 127.0.0.1:9101] [--capacity 8] …
//
// Prints "listening http://HOST:PORT" when it serves. SIGTERM drains: no new log-in, those under way end, every session
// is logged out, within --drain-ms. README.md lists the options.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { Browsers } from './browsers.js';
import { metricsNew } from './metrics.js';
import { serverApp } from './server.js';
import { Sessions } from './sessions.js';
import { viewerRoutes, viewersEnd } from './viewer.js';
import * as sunatDemo from './portals/sunat-demo.js';

const PORTALS = new Map([sunatDemo].map((portal) => [portal.name, portal]));
const OPTIONS = {
  listen: '127.0.0.1:9101', capacity: '8', 'logins-at-once': '4', 'sessions-per-browser': '4', 'browser-memory-mb': '1500',
  'timeout-ms': '60000', 'captcha-wait-ms': '0', 'drain-ms': '25000', chromium: '/usr/bin/chromium', 'viewer-key-file': '',
};

const log = (event, fields = {}) =>
  console.error([`time=${new Date().toISOString()}`, `event=${event}`, ...Object.entries(fields).map(([k, v]) => `${k}=${JSON.stringify(v)}`)].join(' '));

function options() {
  const { values } = parseArgs({
    options: { portal: { type: 'string', multiple: true }, ...Object.fromEntries(Object.entries(OPTIONS).map(([name, value]) => [name, { type: 'string', default: value }])) },
  });
  const number = (name, least) => {
    const n = Number(values[name]);
    if (!Number.isInteger(n) || n < least) throw new Error(`--${name} is a number from ${least}`);
    return n;
  };
  const portalUrl = {};
  for (const text of values.portal ?? []) {
    const [, name, url] = /^([a-z0-9_-]+)=(https?:\/\/.+)$/.exec(text) ?? [];
    if (!PORTALS.has(name)) throw new Error(`--portal is NAME=URL with a NAME of: ${[...PORTALS.keys()].join(', ')}`);
    portalUrl[name] = url.replace(/\/+$/, '');
  }
  if (!Object.keys(portalUrl).length) throw new Error('--portal NAME=URL is missing');
  const colon = values.listen.lastIndexOf(':');
  return {
    host: values.listen.slice(0, colon), port: Number(values.listen.slice(colon + 1)), portalUrl,
    capacity: number('capacity', 1), loginsAtOnce: number('logins-at-once', 1), perBrowser: number('sessions-per-browser', 1),
    memoryMb: number('browser-memory-mb', 100), timeout: number('timeout-ms', 100), captchaWaitMs: number('captcha-wait-ms', 0),
    drainMs: number('drain-ms', 0), executable: values.chromium,
    viewerKey: values['viewer-key-file'] ? readFileSync(values['viewer-key-file'], 'utf8').trim() : null,
  };
}

function start(told) {
  let sessions;
  const browsers = new Browsers({ ...told, log, onGone: (browser) => sessions.browserGone(browser) });
  const portals = new Map([...PORTALS].filter(([name]) => told.portalUrl[name]));
  sessions = new Sessions({ browsers, portals, options: told, onEnd: viewersEnd, log });
  const metrics = metricsNew({ sessions, browsers });
  const server = createServer();
  const app = serverApp({ sessions, portals, metrics, viewer: (routes) => viewerRoutes(routes, server, { key: told.viewerKey, sessions, log }) });
  server.on('request', app);
  server.keepAliveTimeout = 75_000;
  server.listen(told.port, told.host, () => console.log(`listening http://${told.host}:${server.address().port}`));

  let isStopping = false;
  async function stop(signal) {
    if (isStopping) return;
    isStopping = true;
    log('stopping', { signal, sessions: sessions.byId.size });
    await Promise.race([sessions.drain(), new Promise((resolve) => setTimeout(resolve, told.drainMs))]);
    await browsers.close();
    server.close(() => process.exit(0));
    server.closeAllConnections();
  }
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
}

try {
  start(options());
} catch (error) {
  console.error(`robot-chromium: ${error.message}`);
  process.exit(2);
}
