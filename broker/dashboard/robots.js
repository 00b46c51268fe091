// SPDX-License-Identifier: MIT
/* robots.js - the robots as cards: how they are judged, what they hold, what they fail at, and drain or resume. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {world, mayAct, ask, act, change} from './broker.js';
import {panel, badge, places, button, confirm, redrawDialog, fields, bar} from './part.js';
import {number, rate, duration, percentiles, ago, moment, minute, secondsSince} from './format.js';

/* Robots that are slow, as the history has it, and since when; asked for where robots are shown, at most once a minute. */
const SLOW_EVERY_MS = 60000;
let slow = new Map(), slowAt = -SLOW_EVERY_MS;

export function slowLook() {
    if (performance.now() < slowAt + SLOW_EVERY_MS || document.hidden)
        return;
    slowAt = performance.now();
    ask('/history', {range: 3600}).then(told => { slow = new Map(told.robots.filter(one => one.slow_since).map(one => [one.worker, one.slow_since])); }, () => {}); /* then it is not said */
}

function slowBadge(robot) {
    const since = slow.get(robot.name);
    return since && robot.verdict !== 'down' && h('a', {class: 'slow', href: '#/history?range=3600', title: t('history_slow_note')}, badge('slow', 'warn', t('slow_since', minute(since))));
}

export function robotBadge(robot) {
    const isOld = robot.verdict === 'unknown' && robot.last_verdict && robot.last_verdict !== 'unknown'; /* no healthd is heard */
    return [isOld ? h('span', {title: t('judged_before_hint')}, badge('unknown', undefined, t('judged_before', nameOf(robot.last_verdict)))) : badge(robot.verdict), robot.wanted !== 'active' && badge(robot.wanted), slowBadge(robot)];
}

/* The robot as the database has it. */
const rowOf = async robot => (await ask('/workers')).workers.find(one => one.name === robot.name) ?? {};

function drain(robot) {
    let forecast = t('bulk_counting');
    rowOf(robot).then(({sessions, movable}) => { forecast = t('drain_forecast', number(sessions), number(movable), number(sessions - movable)); }, why => { forecast = why.message; }).then(redrawDialog);
    confirm({title: t('drain_title', robot.name), body: () => [h('p', {class: 'big', role: 'status', 'aria-live': 'polite'}, forecast), h('p', {class: 'note'}, t('drain_body'))], action: t('drain'), kind: 'danger',
        inputs: [{name: 'reason', label: t('reason')},
            {name: 'deadline_s', label: t('deadline'), options: [['', t('deadline_none')], ['300', t('minutes', 5)], ['900', t('minutes', 15)], ['3600', t('hours', 1)]]}],
        run: async ({reason, deadline_s}) => {
            await act(`/workers/${encodeURIComponent(robot.name)}/drain`, {reason: reason || undefined, deadline_s: deadline_s ? Number(deadline_s) : undefined});
            return t('drain_told', robot.name);
        }});
}

function resume(robot) {
    const isBack = robot.wanted === 'disabled';
    confirm({title: t(isBack ? 'enable_title' : 'resume_robot_title', robot.name), body: t('resume_robot_body'), action: t(isBack ? 'enable' : 'resume'),
        inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act(`/workers/${encodeURIComponent(robot.name)}/${isBack ? 'enable' : 'resume'}`, {reason: reason || undefined});
            return t('resume_robot_told', robot.name);
        }});
}

/* An answer of "auto" or "none" is null; "" is not told. */
const told = (text, none) => (text === '' ? undefined : text.toLowerCase() === none ? null : text);

function capacityOf(text) {
    const capacity = told(text, 'auto');
    if (typeof capacity === 'string' && !/^[1-9][0-9]{0,5}$/.test(capacity))
        throw new Error(t('set_robot_number'));
    return typeof capacity === 'string' ? Number(capacity) : capacity;
}

async function set(robot) {
    const now = await rowOf(robot), was = {capacity: String(now.set_capacity ?? 'auto'), viewer_url: now.viewer_url ?? 'none'};
    confirm({title: t('set_robot_title', robot.name), body: t('set_robot_body'), action: t('set_robot'),
        inputs: [{name: 'capacity', label: t('robot_capacity'), value: was.capacity, hint: `auto (${now.reported_capacity ?? '?'})`, max: 6},
            {name: 'viewer_url', label: t('robot_viewer_url'), value: was.viewer_url, hint: 'none', max: 255}, {name: 'base_url', label: t('robot_base_url'), hint: t('robot_base_stays'), max: 255}, {name: 'reason', label: t('reason')}],
        run: async ({capacity, viewer_url, base_url, reason}) => {
            const changed = (text, before) => (text.trim() === before ? '' : text.trim());
            const body = {capacity: capacityOf(changed(capacity, was.capacity)), viewer_url: told(changed(viewer_url, was.viewer_url), 'none'), base_url: told(base_url.trim(), '')};
            if (Object.values(body).every(value => value === undefined))
                throw new Error(t('set_robot_nothing'));
            const answer = await change(`/workers/${encodeURIComponent(robot.name)}`, {...body, reason: reason || undefined});
            return t(answer.changed ? 'set_robot_told' : 'set_robot_same', robot.name) + (answer.capacity_stays ? ' ' + t('set_robot_stays', number(answer.capacity_stays)) : '');
        }});
}

function add() {
    confirm({title: t('add_robot'), body: t('add_robot_body'), action: t('add_robot'),
        inputs: [{name: 'name', label: t('robot_name'), required: true, max: 64}, {name: 'base_url', label: t('robot_base_url'), required: true, hint: 'http://10.0.0.7:9000', max: 255},
            {name: 'capacity', label: t('robot_capacity'), hint: 'auto', max: 6}, {name: 'viewer_url', label: t('robot_viewer_url'), max: 255}, {name: 'reason', label: t('reason')}],
        run: async ({name, base_url, capacity, viewer_url, reason}) => {
            await act('/workers', {name: name.trim(), base_url: base_url.trim(), capacity: capacityOf(capacity.trim()), viewer_url: told(viewer_url.trim(), 'none'), reason: reason || undefined});
            return t('add_robot_told', name.trim());
        }});
}

function disable(robot) {
    confirm({title: t('disable_title', robot.name), body: t('disable_body'), action: t('disable'), kind: 'danger', inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act(`/workers/${encodeURIComponent(robot.name)}/disable`, {reason: reason || undefined});
            return t('disable_told', robot.name);
        }});
}

function draining(robot) {
    const d = robot.drain;
    if (!d)
        return null;
    if (d.sessions_left === null) /* nobody has counted yet */
        return h('div', {class: 'strip is-warn'}, h('p', {}, t('drain_counting')));
    if (!d.sessions_left)
        return h('div', {class: 'strip is-warn'}, h('p', {}, t('drain_done'), ' ', t('drain_since', ago(d.since))));
    return h('div', {class: 'strip is-warn'},
        h('p', {}, t('drain_left', number(d.sessions_left), number(d.movable)), ' ',
            [d.movable > 0 && t('drain_idle'), d.movable < d.sessions_left && t('drain_stay'), d.deadline ? t('drain_until', moment(d.deadline)) : t('drain_no_end')].filter(Boolean).join(' '), ' ', t('drain_since', ago(d.since))));
}

function waiting(robot) {
    const s = robot.silence;
    if (!s || s.sessions_waiting === null)
        return null;
    return h('div', {class: 'strip is-warn'},
        h('p', {}, t('silent_waiting', number(s.sessions_waiting), number(s.movable)), ' ', s.sessions_waiting ? t('silent_until', moment(s.migrate_at), moment(s.lost_at)) : ''));
}

function errors(robot) {
    const some = Object.entries(robot.errors || {}).filter(([, n]) => n > 0);
    return some.length ? h('ul', {class: 'tags'}, some.map(([kind, n]) => h('li', {key: kind, class: 'tag is-bad'}, nameOf('error_' + kind), ' ', h('b', {}, number(n))))) : t('no_errors');
}

function card(robot) {
    const id = 'robot-' + robot.name, change = robot.last_change;
    return h('li', {class: `card is-${robot.verdict}`, key: robot.name, 'aria-labelledby': id},
        h('header', {class: 'card-head'}, h('h3', {id}, robot.name), robotBadge(robot)),
        h('p', {class: 'card-why'}, robot.why || (robot.verdict === 'up' ? t('up_since', duration(secondsSince(robot.since))) : t('judged_since', duration(secondsSince(robot.since))))),
        places(robot.places_used, robot.places_total),
        draining(robot),
        waiting(robot),
        robot.other_boot && h('div', {class: 'strip is-warn'}, h('p', {}, t('two_boots', robot.boot_id ?? '?', robot.other_boot))),
        fields([
            [t('login_time_head'), percentiles(robot.login_s)],
            [t('logins'), [rate(robot.logins_done_per_s), ' · ', t('failed_rate', rate(robot.logins_failed_per_s))]],
            [t('in_flight'), number(robot.logins_in_flight)],
            [t('told_by_robot'), robot.sessions_reported === null ? '–' : t('sessions_of', number(robot.sessions_reported), robot.capacity_reported === null ? '?' : number(robot.capacity_reported))],
            robot.abandoned > 0 && [t('abandoned'), h('span', {class: 'is-bad-text'}, number(robot.abandoned))],
            [t('errors_5min'), errors(robot), 'is-whole'],
            [t('last_change'), change ? t('change', ago(change.at), nameOf(change.from), nameOf(change.to)) + (change.why ? ` (${change.why})` : '') : t('no_change', duration(world.stats.broker.uptime_s)), 'is-whole'],
        ]),
        h('p', {class: 'card-act'},
            h('a', {class: 'button', href: '#/sessions?' + new URLSearchParams({worker: robot.name})}, t('its_sessions')),
            mayAct() && (robot.wanted === 'active' ? button(t('drain'), () => drain(robot), {label: t('drain_title', robot.name)})
                : button(t(robot.wanted === 'disabled' ? 'enable' : 'resume'), () => resume(robot), {kind: 'primary', label: t(robot.wanted === 'disabled' ? 'enable_title' : 'resume_robot_title', robot.name)})),
            mayAct() && button(t('set_robot'), () => set(robot), {label: t('set_robot_title', robot.name)}),
            mayAct() && robot.wanted !== 'disabled' && button(t('disable'), () => disable(robot), {label: t('disable_title', robot.name)})));
}

/* One that was looked for stands alone. */
let only = '';

export function enter(query) {
    only = query.get('name') || '';
}

const ORDER = {down: 0, unknown: 1, suspect: 2, up: 3};

export function draw() {
    const {stats} = world;
    slowLook();
    if (!stats)
        return h('p', {class: 'empty', key: 'none'}, t('connecting'));
    const sum = stats.places, list = stats.robots.filter(robot => !only || robot.name === only).sort((a, b) => ORDER[a.verdict] - ORDER[b.verdict]);
    return panel('robots', t('robots_title'), {as_of: stats.as_of, wide: true, kind: 'is-bare', tools: [only && h('a', {class: 'button', href: '#/robots'}, t('all_robots')), mayAct() && button(t('add_robot'), add)]},
        sum && !only && h('div', {class: 'summary'}, h('p', {}, t('places_used', number(sum.used), number(sum.total)), ' · ', t('places_free', number(sum.free))),
            bar(t('places_used', number(sum.used), number(sum.total)), [[sum.total ? sum.used / sum.total : 0, 'fill-accent']])),
        list.length ? h('ul', {class: 'cards'}, list.map(card)) : h('p', {class: 'empty'}, t('no_robots')));
}
