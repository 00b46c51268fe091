// SPDX-License-Identifier: MIT
//
// viewer.js - a session's page, live: a plain page and a WebSocket with pictures from Chromium's screencast.
//
// A viewer address alone shows nothing. A link carries `until` (unix time), `rights` ("view" or "control") and
// `signature` = hex HMAC-SHA256(key, session id + "\n" + until + "\n" + rights). Without a key file no viewer opens.
// A viewer that takes its pictures slowly gets fewer of them: the next one is asked for when the last one left.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { WebSocketServer } from 'ws';

const PAGE = readFileSync(new URL('./viewer.html', import.meta.url), 'utf8');
const VIEWERS_MAX = 20; // of one session
const BUFFERED_BYTES = 256 * 1024;
const ENDED = 4410;
const MOUSE = new Set(['mousePressed', 'mouseReleased', 'mouseMoved', 'mouseWheel']);

// The rights that a link gives, or null.
export function rightsOf(key, sessionId, query) {
  const until = String(query.until ?? '');
  const rights = String(query.rights ?? '');
  if (!key || !/^[0-9]{1,12}$/.test(until) || Number(until) * 1000 < Date.now() || !['view', 'control'].includes(rights)) return null;
  const right = createHmac('sha256', key).update(`${sessionId}\n${until}\n${rights}`).digest();
  const given = Buffer.from(String(query.signature ?? ''), 'hex');
  return given.length === right.length && timingSafeEqual(given, right) ? rights : null;
}

const bounded = (value, max) => Math.min(max, Math.max(0, Number(value) || 0));

// One message of a person's hand, to the page. Anything unknown is ignored.
async function input(cdp, page, message) {
  if (MOUSE.has(message.type))
    await cdp.send('Input.dispatchMouseEvent', {
      type: message.type, x: bounded(message.x, 4000), y: bounded(message.y, 4000), button: message.type === 'mouseMoved' ? 'none' : 'left',
      clickCount: message.type === 'mousePressed' || message.type === 'mouseReleased' ? 1 : 0,
      deltaX: 0, deltaY: message.type === 'mouseWheel' ? Math.max(-2000, Math.min(2000, Number(message.dy) || 0)) : undefined,
    });
  else if (message.type === 'text' && typeof message.text === 'string') await cdp.send('Input.insertText', { text: message.text.slice(0, 500) });
  else if (message.type === 'key' && /^(Enter|Backspace|Tab|Escape|Delete|Arrow(Up|Down|Left|Right)|Home|End)$/.test(message.key))
    await page.keyboard.press(message.key);
}

async function show(socket, session, rights) {
  const page = session.browser.page;
  const cdp = await page.createCDPSession();
  socket.once('close', () => {
    session.viewers.delete(socket);
    cdp.detach().catch(() => {});
  });
  cdp.on('Page.screencastFrame', ({ data, metadata, sessionId }) => {
    const acknowledge = () => cdp.send('Page.screencastFrameAck', { sessionId }).catch(() => {});
    const later = () => (socket.bufferedAmount > BUFFERED_BYTES ? setTimeout(later, 50) : acknowledge());
    if (socket.readyState !== socket.OPEN) return;
    socket.send(JSON.stringify({ type: 'picture', data, width: metadata.deviceWidth, height: metadata.deviceHeight }));
    later();
  });
  socket.on('message', (bytes) => {
    if (rights !== 'control') return;
    let message;
    try {
      message = JSON.parse(bytes);
    } catch {
      return;
    }
    input(cdp, page, message ?? {}).catch(() => {});
  });
  socket.send(JSON.stringify({ type: 'rights', rights }));
  await cdp.send('Page.startScreencast', { format: 'jpeg', quality: 60, maxWidth: 1280, maxHeight: 800 });
}

export function viewerRoutes(app, server, { key, sessions, log }) {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 8192 });

  app.get('/viewer/:id', (request, response) => {
    if (!rightsOf(key, request.params.id, request.query)) return response.status(403).type('text').send('This link is not valid, or no longer.\n');
    response.set({ 'Cache-Control': 'no-store', 'Referrer-Policy': 'no-referrer', 'Content-Security-Policy': "default-src 'self' 'unsafe-inline' data:; frame-ancestors *" });
    return response.type('html').send(PAGE);
  });

  server.on('upgrade', (request, socket, head) => {
    const url = new URL(request.url, 'http://robot');
    const id = /^\/viewer\/([0-9a-f]{32})\/live$/.exec(url.pathname)?.[1];
    const session = id && sessions.byId.get(id);
    const rights = id && rightsOf(key, id, Object.fromEntries(url.searchParams));
    const status = !rights ? '403 Forbidden' : !session?.browser?.page ? '404 Not Found' : session.viewers.size >= VIEWERS_MAX ? '429 Too Many Requests' : null;
    if (status) return socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    return sockets.handleUpgrade(request, socket, head, (opened) => {
      session.viewers.add(opened);
      show(opened, session, rights).catch((error) => {
        log('viewer_failed', { why: error.message });
        opened.close(1011);
      });
    });
  });
}

export function viewersEnd(session) {
  for (const socket of session.viewers) socket.close(ENDED, 'the session has ended');
}
