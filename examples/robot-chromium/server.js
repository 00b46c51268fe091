// SPDX-License-Identifier: MIT
//
// server.js - the robot contract over HTTP (docs/robots.md), the optional part included.

import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import express from 'express';
import { PortalError } from './portal-error.js';

const FILES_MAX = 5000; // tokens that a session remembers
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const refuse = (response, status, error, message) => response.status(status).json({ ok: false, error, message });
const gone = (response) => refuse(response, 404, 'session_not_found', 'There is no such session.');

// `viewer(app)` adds the viewer's routes.
export function serverApp({ sessions, portals, metrics, viewer }) {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use((request, response, next) => {
    response.set('X-Robot-Boot', sessions.bootId);
    const id = request.get('X-Request-Id');
    if (id) response.set('X-Request-Id', id);
    next();
  });
  app.use(express.json({ limit: '64kb' }));

  app.get('/health', (request, response) =>
    response.json({ ok: true, sessions: sessions.byId.size, capacity: sessions.isDraining ? 0 : sessions.options.capacity, boot_id: sessions.bootId }));

  app.get('/metrics', async (request, response) => response.type(metrics.registry.contentType).send(await metrics.registry.metrics()));

  app.get('/sessions', (request, response) => response.json({ ok: true, sessions: sessions.public() }));

  app.post('/sessions/fence', async (request, response) => {
    const { company_id: company, portal, epoch } = request.body ?? {};
    if (!isCount(company) || !isCount(epoch) || typeof portal !== 'string')
      return refuse(response, 422, 'bad_request', 'company_id, portal and epoch are required.');
    return response.json({ ok: true, epoch, ended: await sessions.fence(company, portal, epoch) });
  });

  app.delete('/sessions/:id', async (request, response) => {
    const session = sessions.byId.get(request.params.id);
    if (!session) return gone(response);
    await sessions.end(session);
    return response.json({ ok: true });
  });

  app.post('/:portal/login', async (request, response) => {
    const portal = portals.get(request.params.portal);
    const fields = request.body ?? {};
    if (!portal) return refuse(response, 404, 'unknown_portal', 'This robot does not know that portal.');
    if (!isCount(fields.company_id) || (fields.epoch !== undefined && !isCount(fields.epoch)))
      return refuse(response, 422, 'bad_request', 'company_id (and epoch) are numbers.');
    const done = metrics.loginSeconds.startTimer({ portal: portal.name });
    const [status, body] = await sessions.login(portal, fields, request.get('Idempotency-Key'));
    done();
    metrics.logins.inc({ portal: portal.name, outcome: body.ok ? 'ok' : body.error });
    return response.status(status).json(body);
  });

  app.get('/:portal/buzon/list', async (request, response) => {
    const number = Number(request.query.page ?? 1);
    if (!Number.isInteger(number) || number < 1 || number > 100_000) return refuse(response, 422, 'bad_page', 'page is a number from 1.');
    const found = await sessions.use(request.query.session_id, request.params.portal, async (session) => {
      const { items, ...page } = await session.portal.list(session.browser.page, { ...sessions.reach(session.portal), number });
      return { ok: true, company_id: session.company_id, ...page, items: items.map((item) => withToken(session, item)) };
    });
    metrics.calls.inc({ call: 'list', status: found ? 200 : 404 });
    return found ? response.json(found) : gone(response);
  });

  app.get('/files/:token', async (request, response) => {
    const session = sessions.byId.get(request.query.session_id);
    const file = session?.state === 'active' && session.files.get(request.params.token);
    if (!file) return refuse(response, 404, 'file_not_found', 'There is no such file in this session.');
    const status = await send(session, file, response);
    return metrics.calls.inc({ call: 'file', status });
  });

  viewer(app);

  app.use((request, response) => refuse(response, 404, 'not_found', 'There is nothing at this path.'));
  app.use((error, request, response, next) => {
    if (response.headersSent) return next(error);
    const known = error instanceof PortalError;
    return refuse(response, known ? error.status : error.status >= 400 && error.status < 500 ? error.status : 500,
      known ? error.code : error.status < 500 ? 'bad_request' : 'robot_fault', known ? error.message : 'The request could not be handled.');
  });
  return app;
}

// A message with the token of its file instead of the portal's link. The same link keeps its token while the session lives.
function withToken(session, { href, ...item }) {
  for (const [token, file] of session.files) if (file.href === href) return { ...item, file_token: token };
  const token = randomBytes(24).toString('hex');
  session.files.set(token, { href, name: item.name });
  if (session.files.size > FILES_MAX) session.files.delete(session.files.keys().next().value);
  return { ...item, file_token: token };
}

// Streams the file with the session's own cookies, never whole in memory. Answers the status that was sent.
async function send(session, file, response) {
  const cookies = (await session.browser.context.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
  const cut = new AbortController();
  response.once('close', () => cut.abort());
  const answer = await fetch(file.href, { headers: { Cookie: cookies }, signal: cut.signal, redirect: 'manual' }).catch(() => null);
  if (cut.signal.aborted) return 499;
  if (!answer?.ok || (answer.headers.get('content-type') ?? '').startsWith('text/html')) {
    await answer?.body?.cancel();
    refuse(response, answer?.status === 404 ? 404 : 502, answer?.status === 404 ? 'file_not_found' : 'portal_unavailable', 'The portal did not give the file.');
    return response.statusCode;
  }
  response.type(answer.headers.get('content-type') ?? 'application/octet-stream').attachment(file.name);
  if (answer.headers.get('content-length') && !answer.headers.get('content-encoding')) response.set('Content-Length', answer.headers.get('content-length'));
  await pipeline(Readable.fromWeb(answer.body), response).catch(() => response.destroy());
  return 200;
}
