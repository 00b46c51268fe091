#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// portal-demo - a web portal to log in to, as government portals are: a form, one session an account, a mailbox of
// pages, PDF files; and switches for its bad days.
//
//   node server.js [--listen 127.0.0.1:9100]        prints "listening http://127.0.0.1:9100"
//
//   GET  /_admin            the switches, and counts of log-ins, kicks and visits
//   POST /_admin            {maintenance?: bool, slow_ms?: 0-60000, captcha?: bool}
//   POST /_admin/reset      forgets every session, failure and count
//
// An account is a RUC of 5-11 digits and any user name; its password is "demo". Three wrong passwords lock it. A second
// log-in of an account ends its first session.

import { parseArgs } from 'node:util';
import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import cookies from 'cookie-parser';
import express from 'express';
import { Accounts } from './accounts.js';
import * as mailbox from './mailbox.js';
import * as pages from './pages.js';

const COOKIE = 'portal_session';
const CAPTCHAS_MAX = 10_000;
const ERRORS = {
  bad_credentials: 'El usuario o la clave no son correctos.',
  account_locked: 'La cuenta está bloqueada por demasiados intentos.',
  captcha: 'La respuesta no es correcta.',
};

// The switches of an /_admin body, or a text saying what is wrong with it.
function switchesOf(body) {
  const known = { maintenance: 'boolean', captcha: 'boolean', slow_ms: 'number' };
  for (const [name, value] of Object.entries(body ?? {}))
    if (typeof value !== known[name]) return `${name} is not a switch, or has the wrong type`;
  const slow = body?.slow_ms ?? 0;
  return Number.isInteger(slow) && slow >= 0 && slow <= 60_000 ? { ...body } : 'slow_ms is 0-60000';
}

function portal() {
  const app = express();
  const accounts = new Accounts();
  const switches = { maintenance: false, slow_ms: 0, captcha: false };
  const captchas = new Map(); // cookie -> the sum
  const visits = { login: 0, menu: 0, buzon: 0 };

  function loginPage(response, code) {
    visits.login++;
    let captcha;
    if (switches.captcha) {
      const [a, b] = [randomInt(1, 10), randomInt(1, 10)];
      const key = String(randomInt(2 ** 47));
      captchas.set(key, a + b);
      if (captchas.size > CAPTCHAS_MAX) captchas.delete(captchas.keys().next().value);
      response.cookie('captcha', key, { httpOnly: true });
      captcha = `${a} + ${b}`;
    }
    response.send(pages.login({ error: code && { code, text: ERRORS[code] }, captcha }));
  }

  // Pages behind the log-in.
  function member(handler) {
    return (request, response) => {
      const session = accounts.session(request.cookies[COOKIE]);
      if (!session) return response.send(pages.expired());
      if (request.path.slice(1) in visits) visits[request.path.slice(1)]++;
      return handler(request, response, session);
    };
  }

  app.disable('x-powered-by');
  app.use(cookies(), express.json(), express.urlencoded({ extended: false }));
  app.get('/_admin', (request, response) => response.json({ switches, visits, ...accounts.report() }));
  app.post('/_admin', (request, response) => {
    const wanted = switchesOf(request.body);
    if (typeof wanted === 'string') return response.status(422).json({ ok: false, message: wanted });
    return response.json({ switches: Object.assign(switches, wanted) });
  });
  app.post('/_admin/reset', (request, response) => {
    accounts.reset();
    Object.assign(visits, { login: 0, menu: 0, buzon: 0 });
    response.json({ ok: true });
  });

  app.use(async (request, response, next) => {
    if (switches.slow_ms) await delay(switches.slow_ms);
    if (switches.maintenance) response.status(503).send(pages.maintenance());
    else next();
  });
  app.get('/', (request, response) => response.redirect('/login'));
  app.get('/login', (request, response) => loginPage(response));
  app.post('/login', (request, response) => {
    const { ruc = '', usuario = '', clave = '', respuesta = '' } = request.body ?? {};
    if (switches.captcha) {
      const sum = captchas.get(request.cookies.captcha);
      captchas.delete(request.cookies.captcha);
      if (String(sum) !== String(respuesta).trim()) return loginPage(response, 'captcha');
    }
    const result = accounts.login(String(ruc), String(usuario), String(clave));
    if (result.error) return loginPage(response, result.error);
    return response.cookie(COOKIE, result.cookie, { httpOnly: true }).redirect('/menu');
  });
  app.get('/menu', member((request, response, session) => response.send(pages.menu(session))));
  app.get('/buzon', member((request, response, session) => {
    const number = Math.min(mailbox.PAGES, Math.max(1, Number.parseInt(request.query.page ?? '1', 10) || 1));
    response.send(pages.buzon({ ruc: session.ruc, number, messages: mailbox.page(session.ruc, number) }));
  }));
  app.get('/buzon/:name', member((request, response, session) => {
    const number = Number(/^([0-9]{1,4})\.pdf$/.exec(request.params.name)?.[1]);
    if (!mailbox.message(session.ruc, number)) return response.status(404).send('No existe.');
    response.attachment(`constancia-${number}.pdf`);
    return mailbox.pdf(session.ruc, number).pipe(response);
  }));
  app.get('/salir', (request, response) => {
    accounts.end(request.cookies[COOKIE]);
    response.clearCookie(COOKIE).redirect('/login');
  });
  return app;
}

const { values } = parseArgs({ options: { listen: { type: 'string', default: '127.0.0.1:9100' } } });
const colon = values.listen.lastIndexOf(':');
const host = values.listen.slice(0, colon);
const server = portal().listen(Number(values.listen.slice(colon + 1)), host, (error) => {
  if (error) throw error;
  console.log(`listening http://${host}:${server.address().port}`);
});
for (const signal of ['SIGTERM', 'SIGINT'])
  process.once(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
