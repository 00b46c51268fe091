// SPDX-License-Identifier: MIT
/* sessions.js - who is logged in where: search, the robot's viewer, close and migrate one, some that are picked, or all found. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {mayAct, act, ask} from './broker.js';
import {badge, table, button, confirm, redrawDialog, outside, fields, said} from './part.js';
import {ago, moment, number} from './format.js';
import {List, cut} from './list.js';
import {Picked} from './picked.js';

const STATES = ['live', 'opening', 'active', 'closing', 'closed', 'expired', 'lost', 'migrated'];
const LIVE = ['opening', 'active', 'closing'];
const list = new List('sessions', '/sessions', 'sessions', ['state', 'company_id', 'session_id', 'worker'], {state: 'live'});

function about(s) {
    return fields([[t('company'), String(s.company_id)], [t('portal'), s.portal], [t('robot'), s.worker], [t('session'), h('code', {}, s.session_id || '–')]]);
}

function close(s) {
    confirm({title: t('close_title'), body: () => [h('p', {}, t('close_body')), about(s)], action: t('close'), kind: 'danger', inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act(`/sessions/${encodeURIComponent(s.session_id)}/close`, {reason: reason || undefined});
            list.load();
            return t('closed_told');
        }});
}

const MANY = 5000;

/* All active sessions of a robot, a company, or of all. */
async function activeOnes(filter) {
    const found = [];
    let cursor;
    do {
        const told = await ask('/sessions', {...filter, state: 'active', limit: 200, cursor});
        found.push(...told.sessions);
        cursor = told.next_cursor;
    } while (cursor && found.length < MANY);
    return found.filter(s => s.session_id);
}

const AT_ONCE = 4;

/* Each by itself: one that is refused does not hold up the others. What came of it, in words. */
async function changeEach(what, sessions, reason) {
    const left = [...sessions];
    let n = 0, refused = 0, why = null;
    await Promise.all(Array.from({length: AT_ONCE}, async () => {
        for (let s = left.shift(); s; s = left.shift())
            await act(`/sessions/${encodeURIComponent(s.session_id)}/${what}`, {reason: reason || undefined}).then(() => { n++; }, refusal => { refused++; why ||= refusal; });
    }));
    list.load();
    return t(`${what}_all_told`, number(n), number(refused)) + (why ? ` (${said(why)})` : '');
}

function closeAll() {
    const filter = {worker: list.filter.worker, company_id: list.filter.company_id};
    let found = null, why = null;
    confirm({title: t('close_all_title'), action: t('close'), kind: 'danger', ready: () => found !== null && found.length > 0,
        inputs: [{name: 'idle', label: t('idle_minutes'), type: 'number', hint: '30'}, {name: 'portal', label: t('portal')}, {name: 'reason', label: t('reason')}],
        body: () => [
            h('p', {}, [filter.worker && `${t('robot')}: ${filter.worker}`, filter.company_id && `${t('company')}: ${filter.company_id}`].filter(Boolean).join(' · ') || t('close_all_any')),
            h('p', {class: 'big', role: 'status', 'aria-live': 'polite'}, why ? said(why) : found === null ? t('bulk_counting') : t('close_all_n', number(found.length))),
            h('p', {class: 'note'}, t('close_all_note'))],
        run: ({idle, portal, reason}) => {
            const before = Date.now() - Math.max(0, Number(idle) || 0) * 60000, wanted = portal.trim();
            return changeEach('close', found.filter(one => (!wanted || one.portal === wanted) && (!Number(idle) || Date.parse(one.last_activity_at) <= before)), reason);
        }});
    activeOnes(filter).then(ones => { found = ones; }, refusal => { why = refusal; }).then(redrawDialog);
}

const NAMED = 12;
const picked = new Picked(s => s.session_id, s => !!s.session_id && s.state === 'active');

/* "20101, 20102 and 7 more" */
function companies(sessions) {
    const named = sessions.slice(0, NAMED).map(s => s.company_id).join(', ');
    return sessions.length > NAMED ? t('picked_more', named, number(sessions.length - NAMED)) : named;
}

/* Those that are picked still when it is answered: one may go while the dialog is open. */
function changePicked(what) {
    const chosen = new Set(picked.of(list.rows).map(s => s.session_id)), left = () => picked.of(list.rows).filter(s => chosen.has(s.session_id));
    confirm({title: t(`${what}_picked_title`), action: t(what), kind: what === 'close' ? 'danger' : 'primary', ready: () => left().length > 0, inputs: [{name: 'reason', label: t('reason')}],
        body: () => {
            const sessions = left();
            return [
                h('p', {class: 'big', role: 'status', 'aria-live': 'polite'}, t(`${what}_picked_n`, number(sessions.length))),
                fields([[t('company'), companies(sessions)], [t('robot'), [...new Set(sessions.map(s => s.worker || '–'))].sort().join(', ')]]),
                h('p', {class: 'note'}, t(`${what}_picked_note`))];
        },
        run: async ({reason}) => {
            const told = await changeEach(what, left(), reason);
            picked.clear();
            return told;
        }});
}

function picksActs() {
    return picked.acts(button(t('close_picked'), () => changePicked('close'), {kind: 'danger'}), button(t('migrate_picked'), () => changePicked('migrate')), button(t('pick_none'), () => picked.clear()));
}

function migrate(s) {
    confirm({title: t('migrate_title'), body: () => [h('p', {}, t('migrate_body')), about(s)], action: t('migrate'), inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act(`/sessions/${encodeURIComponent(s.session_id)}/migrate`, {reason: reason || undefined});
            list.load();
            return t('migrated_told');
        }});
}

function actions(s) {
    if (!s.session_id || !LIVE.includes(s.state))
        return null;
    return h('span', {class: 'acts'},
        outside(s.viewer_url, t('viewer'), t('viewer_of', s.company_id)),
        mayAct() && [button(t('migrate'), () => migrate(s), {kind: 'small', label: t('migrate_of', s.company_id)}), button(t('close'), () => close(s), {kind: 'small', label: t('close_of', s.company_id)})]);
}

export function enter(query) {
    picked.clear();
    list.enter(query);
}

export function happened(kind, event) {
    if (kind === 'lost')
        list.lost(event);
    if (kind !== 'session' || !list.rows)
        return;
    list.happened(list.rows.find(s => s.job_id === event.id), event.state ? {state: event.state} : {});
}

export function draw() {
    picked.of(list.rows);
    const canPick = mayAct() && list.rows?.some(picked.fits);
    return list.frame('sessions', t('sessions_title'),
        list.form([
            {name: 'state', label: t('state'), options: [...STATES.map(state => [state, nameOf('session_' + state)]), ['all', t('all')]]},
            {name: 'company_id', label: t('company'), kind: 'number'},
            {name: 'session_id', label: t('session'), kind: 'wide'},
            {name: 'worker', label: t('robot')},
        ]),
        [canPick && picked.all(list.rows), table(t('sessions_title'), [
            canPick && {head: t('pick'), kind: 'tick-cell', cell: s => picked.box(s, list.rows, t('pick_session', s.company_id, s.session_id))},
            {head: t('state'), cell: s => [badge(s.state, undefined, nameOf('session_' + s.state)), s.migrating && badge('draining', 'warn', t('migrating')), s.close_pending && badge('lost', 'bad', t('abandoned'))]},
            {head: t('company'), kind: 'lead num', cell: s => h('a', {href: '#/sessions?' + new URLSearchParams({company_id: s.company_id, state: 'all'})}, String(s.company_id))},
            {head: t('portal'), kind: 'minor', cell: s => s.portal},
            {head: t('robot'), cell: s => s.worker || '–'},
            {head: t('session'), kind: 'mono', cell: s => (s.session_id ? h('a', {href: '#/audit?' + new URLSearchParams({search: s.session_id}), 'aria-label': t('audit_of', s.session_id)}, cut(s.session_id, 16)) : '–')},
            {head: t('job'), kind: 'num', cell: s => h('a', {href: `#/jobs/${s.job_id}`}, String(s.job_id))},
            {head: t('started'), kind: 'when', cell: s => moment(s.started_at)},
            {head: t('last_used'), cell: s => (LIVE.includes(s.state) ? ago(s.last_activity_at) : [nameOf('session_' + s.state), ' ', ago(s.since), s.reason && h('small', {}, s.reason)])},
            {head: t('actions'), kind: 'act', cell: actions},
        ].filter(Boolean), list.rows, s => `${s.job_id}.${s.generation}`, t('no_sessions')), canPick && picksActs()],
        mayAct() && button(t('close_all'), closeAll));
}
