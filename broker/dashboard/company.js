// SPDX-License-Identifier: MIT
/* company.js - one company: its sessions, what runs and waits for it, what failed last, and its credentials. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {ask, mayAct} from './broker.js';
import {panel, badge, button, failure, outside, table} from './part.js';
import {number, moment, ago} from './format.js';
import {cut} from './list.js';
import {lift} from './portals.js';
import {reason} from './job.js';
import {Thing} from './thing.js';

/* The robot's viewer stands with the sessions. */
const page = new Thing(async id => {
    const [{company}, {sessions}] = await Promise.all([ask(`/companies/${encodeURIComponent(id)}`), ask('/sessions', {company_id: id})]);
    const viewer = new Map(sessions.map(one => [one.session_id, one.viewer_url]));
    return {...company, sessions: company.sessions.map(one => ({...one, viewer_url: viewer.get(one.session_id)}))};
}, () => isShown());
const isShown = () => location.hash.startsWith('#/companies/');

export function enter(id) {
    page.enter(id);
}

export function happened(kind, event) {
    if (kind === 'lost' || kind === 'pause' || kind === 'portal' || !event.company_id || String(event.company_id) === page.id)
        page.changed(isShown);
}

const job = id => (id ? h('a', {href: `#/jobs/${id}`}, String(id)) : '–');
const batch = id => (id ? h('a', {href: `#/batches/${id}`}, String(id)) : '–');
const part = (id, columns, rows, key, empty) => panel(id, t(id + '_of_it'), {wide: true}, table(t(id + '_of_it'), columns, rows, key, empty));

export function draw() {
    const {told} = page, title = t('company_title', page.id);
    if (!told)
        return page.empty('company', title);
    return [
        panel('company', title, {as_of: page.as_of, steady: true, wide: true, tools: [h('a', {class: 'button', href: `#/jobs?company_id=${page.id}`}, t('all_jobs')),
            h('a', {class: 'button', href: `#/sessions?state=all&company_id=${page.id}`}, t('its_sessions')), page.refresh()]}, failure(page.why),
            h('h3', {}, t('live_of_it')),
            table(t('live_of_it'), [
                {head: t('portal'), kind: 'lead', cell: s => h('b', {}, s.portal)}, {head: t('state'), cell: s => badge(s.state, undefined, nameOf('session_' + s.state))},
                {head: t('robot'), cell: s => s.worker || '–'}, {head: t('session'), cell: s => h('a', {href: '#/sessions?' + new URLSearchParams({state: 'all', session_id: s.session_id || ''})}, cut(s.session_id, 18))},
                {head: t('started'), kind: 'when', cell: s => ago(s.started_at)}, {head: t('last_used'), kind: 'when', cell: s => ago(s.last_activity_at)}, {head: t('job'), cell: s => job(s.job_id)},
                {head: t('actions'), kind: 'act', cell: s => outside(s.viewer_url, t('viewer'), t('viewer_of', page.id))},
            ], told.sessions, s => s.portal, t('no_live'))),
        told.running.length > 0 && part('running', [
            {head: t('job'), kind: 'lead', cell: r => job(r.job_id)}, {head: t('action'), cell: r => [r.action, r.step && h('small', {}, r.step)]}, {head: t('robot'), cell: r => r.worker || '–'},
            {head: t('started'), kind: 'when', cell: r => ago(r.since)}, {head: t('batch'), cell: r => batch(r.batch_id)}, {head: t('dispatcher'), cell: r => r.dispatcher || '–'},
        ], told.running, r => r.job_id, ''),
        part('waiting', [
            {head: t('batch'), kind: 'lead', cell: w => [batch(w.batch_id), w.batch_name && h('small', {}, w.batch_name)]}, {head: t('job'), cell: w => job(w.job_id)}, {head: t('portal'), cell: w => w.portal},
            {head: t('state'), kind: 'span', cell: w => [badge(w.status), (w.why || []).map((one, i) => h('small', {key: String(i)}, reason(one)))]}, {head: t('priority'), kind: 'num', cell: w => String(w.priority)},
            {head: t('before_it'), kind: 'num', cell: w => (w.before === null ? '–' : number(w.before))}, {head: t('not_before'), kind: 'when', cell: w => moment(w.due_at)}, {head: t('error'), cell: w => w.error || ''},
        ], told.waiting, w => `${w.batch_id} ${w.index} ${w.job_id}`, t('nothing_waits_of_it')),
        told.ended.length > 0 && part('ended', [
            {head: t('portal'), kind: 'lead', cell: s => h('b', {}, s.portal)}, {head: t('state'), cell: s => [badge(s.state, undefined, nameOf('session_' + s.state)), s.reason && h('small', {}, s.reason)]},
            {head: t('closed_by'), cell: s => s.by || '–'}, {head: t('finished'), kind: 'when', cell: s => ago(s.since)}, {head: t('robot'), cell: s => s.worker || '–'},
            {head: t('session'), cell: s => (s.session_id ? h('a', {href: '#/audit?' + new URLSearchParams({search: s.session_id}), 'aria-label': t('audit_of', s.session_id)}, cut(s.session_id, 18)) : '–')},
            {head: t('job'), cell: s => job(s.job_id)},
        ], told.ended, s => `${s.job_id} ${s.session_id} ${s.since}`, ''),
        part('failures', [
            {head: t('job'), kind: 'lead', cell: f => job(f.job_id)}, {head: t('action'), cell: f => f.action}, {head: t('finished'), kind: 'when', cell: f => ago(f.finished_at)}, {head: t('robot'), cell: f => f.worker || '–'},
            {head: t('error'), kind: 'span', cell: f => h('span', {class: 'why'}, f.error, f.message && h('small', {}, cut(f.message, 90)))},
        ], told.failures, f => f.job_id, t('no_failures')),
        part('credentials', [
            {head: t('portal'), kind: 'lead', cell: c => h('b', {}, c.portal)}, {head: t('stored_at'), kind: 'when', cell: c => moment(c.updated_at)},
            {head: t('refused_at'), cell: c => (c.refused_at ? h('span', {class: 'why'}, ago(c.refused_at), ' · ', c.refused_error) : t('not_refused'))},
            {head: t('actions'), kind: 'act', cell: c => c.refused_at && mayAct() && button(t('lift'), () => lift({company_id: page.id, portal: c.portal}, () => page.load()), {kind: 'small', label: t('lift_title', page.id)})},
        ], told.credentials, c => c.portal, t('no_credentials')),
        part('recent', [
            {head: t('job'), kind: 'lead', cell: r => job(r.job_id)}, {head: t('action'), cell: r => r.action}, {head: t('state'), cell: r => badge(r.status)},
            {head: t('created'), kind: 'when', cell: r => ago(r.created_at)}, {head: t('robot'), cell: r => r.worker || '–'}, {head: t('batch'), cell: r => batch(r.batch_id)},
        ], told.recent, r => r.job_id, t('no_jobs')),
    ];
}
