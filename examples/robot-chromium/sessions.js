// SPDX-License-Identifier: MIT
//
// sessions.js - the robot's sessions: one company logged in at one portal in one browser context.
//
// Owns: the sessions, the highest epoch seen for each company and portal, and the answers given under each
// Idempotency-Key. All of it lives in memory: a restart is a new boot id and an empty table. A log-in runs on when its
// caller goes away; a fence, a DELETE or the end of the process stops it.
//
//   opening -> active -> closing -> (gone)         a browser that crashed: opening or active -> (gone)

import { randomBytes } from 'node:crypto';
import { PortalError } from './portal-error.js';

const ANSWERS_MAX = 20_000;
const EPOCHS_MAX = 200_000;

// A Map that forgets its oldest entries beyond `max`.
function remember(map, max, key, value) {
  map.delete(key);
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value);
}

class Limit {
  constructor(max) {
    this.free = max;
    this.waiting = [];
  }
  async run(work) {
    if (this.free > 0) this.free--;
    else await new Promise((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    }
  }
}

export class Sessions {
  constructor({ browsers, portals, options, onEnd, log }) {
    Object.assign(this, { browsers, portals, options, onEnd, log });
    this.bootId = randomBytes(8).toString('hex');
    this.byId = new Map();
    this.highest = new Map(); // "company/portal" -> epoch
    this.answers = new Map(); // Idempotency-Key -> promise of [status, body]
    this.logins = new Limit(options.loginsAtOnce);
    this.isDraining = false;
  }

  // Answers [status, body] as the contract says.
  login(portal, fields, key) {
    const known = key && this.answers.get(key);
    if (known) return known;
    const refusal = this.refusal(portal, fields);
    if (refusal) return Promise.resolve(refusal);
    const of = `${fields.company_id}/${portal.name}`;
    if (fields.epoch !== undefined) remember(this.highest, EPOCHS_MAX, of, fields.epoch);
    const session = {
      id: randomBytes(16).toString('hex'), company_id: fields.company_id, portal, job_uid: fields.job_uid ?? null, epoch: fields.epoch ?? null,
      state: 'opening', files: new Map(), work: Promise.resolve(), viewers: new Set(), browser: null, isStopped: false,
    };
    this.byId.set(session.id, session);
    const answer = (session.opening = this.logins.run(() => this.open(session, fields)));
    if (key) remember(this.answers, ANSWERS_MAX, key, answer);
    return answer;
  }

  refusal(portal, { company_id: company, epoch }) {
    const highest = this.highest.get(`${company}/${portal.name}`) ?? -1;
    if (epoch !== undefined && epoch <= highest)
      return [409, { ok: false, error: 'stale_epoch', message: `Epoch ${epoch} is not above ${highest}.` }];
    if (this.isDraining || this.byId.size >= this.options.capacity)
      return [503, { ok: false, error: 'full', message: this.isDraining ? 'This robot is stopping.' : `All ${this.options.capacity} places are taken.` }];
    return undefined;
  }

  async open(session, fields) {
    try {
      if (session.isStopped) throw new PortalError(409, 'stale_epoch', 'The log-in was fenced.');
      session.browser = await this.browsers.open();
      const at = await session.portal.login(session.browser.page, { ...this.reach(session.portal), credentials: fields });
      if (session.isStopped) throw new PortalError(409, 'stale_epoch', 'The log-in was fenced.');
      session.state = 'active';
      return [200, { ok: true, session_id: session.id, ...at }];
    } catch (error) {
      const known = session.isStopped ? new PortalError(409, 'stale_epoch', 'The log-in was fenced.') : named(error);
      await this.close(session, session.isStopped);
      return [known.status, { ok: false, error: known.code, message: known.message }];
    }
  }

  reach(portal) {
    const { timeout, captchaWaitMs } = this.options;
    return { baseUrl: this.options.portalUrl[portal.name], timeout, captchaWaitMs };
  }

  // Runs `work(session)` alone in the session: a page does one thing at a time. undefined = there is no such session.
  async use(id, portalName, work) {
    const session = this.byId.get(id);
    if (!session || session.state !== 'active' || (portalName && session.portal.name !== portalName)) return undefined;
    const turn = session.work.then(() => (session.state === 'active' ? work(session) : undefined));
    session.work = turn.catch(() => {});
    try {
      return await turn;
    } catch (error) {
      const known = named(error);
      if (known.code === 'session_not_found') {
        await this.close(session, false);
        return undefined;
      }
      if (session.state !== 'active') return undefined;
      throw known;
    }
  }

  // Ends a session, at the portal too when `isLoggedIn`. Resolves once it is gone; may be called any number of times.
  close(session, isLoggedIn) {
    session.closing ??= (async () => {
      session.state = 'closing';
      if (isLoggedIn && session.browser?.page)
        await session.portal.logout(session.browser.page, this.reach(session.portal)).catch(() => {});
      await session.browser?.close?.();
      this.forget(session);
    })();
    return session.closing;
  }

  forget(session) {
    session.state = 'gone';
    if (this.byId.get(session.id) === session) this.byId.delete(session.id);
    this.onEnd(session);
  }

  async end(session) {
    session.isStopped = true;
    if (session.state === 'opening') {
      await session.browser?.close?.(); // the log-in under way fails at once
      await session.opening;
    }
    await this.close(session, true);
  }

  async fence(companyId, portalName, epoch) {
    const of = `${companyId}/${portalName}`;
    remember(this.highest, EPOCHS_MAX, of, Math.max(epoch, this.highest.get(of) ?? -1));
    const below = [...this.byId.values()].filter((s) => s.company_id === companyId && s.portal.name === portalName && (s.epoch ?? 0) <= epoch);
    await Promise.all(below.map((session) => this.end(session)));
    return below.map((session) => session.id);
  }

  // The browser of these sessions crashed.
  browserGone(browser) {
    for (const session of this.byId.values()) if (session.browser === browser) this.forget(session);
  }

  public() {
    return [...this.byId.values()].map(({ id, company_id, portal, job_uid, epoch, state }) => ({
      session_id: id, company_id, portal: portal.name, job_uid, epoch, state,
    }));
  }

  // SIGTERM: no new log-in, those under way end, every session is logged out.
  async drain() {
    this.isDraining = true;
    await Promise.allSettled([...this.byId.values()].map((session) => session.opening));
    await Promise.allSettled([...this.byId.values()].map((session) => this.end(session)));
  }
}

// What went wrong, as the contract names it.
function named(error) {
  if (error instanceof PortalError) return error;
  if (error.name === 'TimeoutError') return new PortalError(504, 'portal_timeout', 'The portal did not answer in time.');
  if (/net::ERR_|ECONN|ENOTFOUND|fetch failed/.test(error.message)) return new PortalError(503, 'portal_unavailable', 'The portal cannot be reached.');
  if (/Target closed|Session closed|Protocol error|detached/i.test(error.message)) return new PortalError(502, 'browser_gone', 'The browser ended.');
  return new PortalError(500, 'robot_fault', 'The portal showed a page that this robot does not know.');
}
