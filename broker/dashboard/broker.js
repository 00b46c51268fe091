// SPDX-License-Identifier: MIT
/*
 * broker.js - what the page knows of the world: who is logged in, the last statistics, and whether the broker still
 * tells. Owns the event stream and every request. Nothing here asks the database by itself: numbers come with the
 * stream, lists are asked for when somebody looks at them; thing.js has the few pages that are asked for again.
 */
import {t} from './text.js';

const SILENT_MS = 2500; /* statistics come every second */
const AGAIN_MS = 1000;
const HIDDEN_MS = 10000; /* between two looks of a tab that nobody sees */
const POINTS = 360, END_POINTS = 2; /* of the last hour, and of what later events hold */

export const world = {
    phase: 'start',       /* start, login, here */
    me: null,             /* {token:{id,name}, ability, broker, version} */
    stats: null, history: null,
    link: 'connecting',   /* connecting, live, gone */
    goneSince: null,      /* ISO */
    goneWhy: '',          /* the broker's own words when it still has some */
    refused: '',          /* why the log-in is asked for again */
};

let stream = null, resting = null, heardAt = 0, changed = () => {}, happened = () => {};

/* onChange: something of the world is another; onEvent(kind, data): a job, batch, session, portal or pause changed. */
export function watch(onChange, onEvent) {
    changed = onChange;
    happened = onEvent;
    setInterval(look, 250);
    document.addEventListener('visibilitychange', () => world.phase === 'here' && openStream());
}

export function mayAct() {
    return world.me?.ability === 'ops';
}

export class Refusal extends Error {
    constructor(status, body) {
        super(body?.errors ? t('fields_wrong') : body?.message || t('broker_silent'));
        this.status = status;
        this.code = body?.error || '';
        this.fields = body?.errors || null;
        this.request = body?.request_id || '';
    }
}

async function request(method, path, body) {
    const options = {method, headers: {Accept: 'application/json'}, credentials: 'same-origin', cache: 'no-store'};
    if (body !== undefined) {
        options.headers['Content-Type'] = 'application/json';
        options.body = JSON.stringify(body);
    }
    let answer, told = null;
    try {
        answer = await fetch(path, options);
        told = read(await answer.text());
    } catch {
        throw new Refusal(answer?.status || 0, null);
    }
    if (!answer.ok)
        throw new Refusal(answer.status, told);
    return told;
}

/* JSON whose integers beyond 2^53, which a double would round, come as texts: they are ids. */
export function read(json) {
    return JSON.parse(json.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, part => (/^-?\d+$/.test(part) && !Number.isSafeInteger(Number(part)) ? `"${part}"` : part)));
}

/* path below /api/v1/ops; undefined and empty query members are left out. */
export async function ask(path, query = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
    const target = 'api/v1/ops' + path + (given.length ? '?' + new URLSearchParams(given) : '');
    try {
        return await guarded('GET', target);
    } catch (why) {
        if (why.status)
            throw why;
    }
    await new Promise(done => setTimeout(done, AGAIN_MS)); /* its connection broke, as when the machine changes networks: once more */
    return guarded('GET', target);
}

export async function act(path, body = {}) {
    return guarded('POST', 'api/v1/ops' + path, body);
}

export async function change(path, body) {
    return guarded('PATCH', 'api/v1/ops' + path, body);
}

export async function remove(path, body = {}) {
    return guarded('DELETE', 'api/v1/ops' + path, body);
}

async function guarded(method, path, body) {
    try {
        return await request(method, path, body);
    } catch (why) {
        if (why.status === 401)
            askToLogIn(t('logged_out'));
        throw why;
    }
}

/* ---- who ----------------------------------------------------------------------------------------------------- */

function askToLogIn(why) {
    closeStream();
    Object.assign(world, {phase: 'login', me: null, stats: null, history: null, refused: why});
    changed();
}

export async function logIn(token) {
    /* A connection that stood idle may be closed at this very moment: asked once more, it is another one. */
    world.me = await request('POST', 'login', {token}).catch(why => (why.status ? Promise.reject(why) : request('POST', 'login', {token})));
    world.phase = 'here';
    world.refused = '';
    openStream();
    changed();
}

export async function logOut() {
    await request('POST', 'logout').catch(() => {});
    askToLogIn('');
}

/* Who has the cookie that the browser may have? `wasHere`: somebody had a good one a moment ago. */
export async function begin(wasHere = false) {
    try {
        world.me = await request('GET', 'api/v1/ops/me');
        world.phase = 'here';
        openStream();
    } catch (why) {
        if (why.status === 401 || why.status === 403) {
            askToLogIn(wasHere ? t('logged_out') : '');
            return;
        }
        await gone(why.status ? why.message : '');
        setTimeout(begin, AGAIN_MS, wasHere);
    }
    changed();
}

/* ---- the stream ---------------------------------------------------------------------------------------------- */

function closeStream() {
    stream?.close();
    stream = null;
    clearInterval(resting);
}

/* A browser keeps six connections to a host, for all of its tabs together. One that nobody sees holds none: it asks now and then. */
async function glance() {
    const stats = await ask('/stats').catch(() => null);
    if (stats && world.phase === 'here')
        take(stats);
}

function openStream() {
    closeStream();
    if (document.hidden) {
        resting = setInterval(glance, HIDDEN_MS);
        glance();
        return;
    }
    stream = new EventSource('api/v1/ops/events');
    heardAt = performance.now();
    stream.addEventListener('stats', message => take(read(message.data)));
    for (const kind of ['job', 'batch', 'session', 'portal', 'pause', 'lost']) /* lost: so many came too fast for us */
        stream.addEventListener(kind, message => happened(kind, read(message.data)));
    stream.onerror = lost;
}

function take(stats) {
    heardAt = performance.now();
    remember(stats.history);
    Object.assign(world, {stats, link: 'live', goneSince: null, goneWhy: ''});
    changed();
}

async function lost() {
    await gone('');
    if (stream?.readyState === EventSource.CLOSED) { /* it was refused, and would not try again */
        closeStream();
        setTimeout(begin, AGAIN_MS, true);
    }
}

async function gone(why) {
    world.link = 'gone';
    world.goneSince ??= new Date().toISOString();
    world.goneWhy = why;
    changed();
    if (why)
        return;
    const told = await fetch('readyz', {cache: 'no-store'}).then(answer => answer.json()).catch(() => null);
    world.goneWhy = told?.why || '';
    changed();
}

/* A broker that stands still closes nothing. */
function look() {
    if (stream && world.phase === 'here' && world.link === 'live' && performance.now() - heardAt > SILENT_MS)
        gone('');
}

/* ---- the last hour ------------------------------------------------------------------------------------------- */

/* Later events hold only the newest points: they are put where their times are, also when the first one had no more. */
function remember(part) {
    if (!part)
        return;
    const old = world.history, step = part.step_s * 1000, from = Date.parse(part.from);
    const shift = old && old.step_s === part.step_s ? Math.round((from - Date.parse(old.from)) / step) : -1;
    if (!old || shift < 0 || shift > POINTS || (part.n > END_POINTS && part.n >= old.n)) {
        world.history = part;
        return;
    }
    const size = Math.max(old.n, shift + part.n), drop = Math.max(0, size - POINTS);
    const joined = (a, b) => {
        const list = a.slice(0, shift);
        while (list.length < shift)
            list.push(null);
        return list.concat(b).slice(drop);
    };
    const lists = (a, b) => Array.isArray(a) ? joined(a, b)
        : Object.fromEntries(Object.keys(a).map(name => [name, lists(a[name], b[name])]));
    const {step_s, from: began, n, ...rest} = old;
    const {step_s: _s, from: _f, n: _n, ...more} = part;
    world.history = {step_s, n: size - drop, from: new Date(Date.parse(began) + drop * step).toISOString(), ...lists(rest, more)};
}
