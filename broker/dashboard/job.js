// SPDX-License-Identifier: MIT
/* job.js - one job: what became of it as a picture and in words, why it waits, and what can be done about it. */
import {h} from './view.js';
import {t, knows, name as nameOf} from './text.js';
import {ask, mayAct} from './broker.js';
import {panel, badge, button, failure, fields} from './part.js';
import {moment, duration, clock, count, ago} from './format.js';
import {retry, cancel, mayRetry, mayCancel, took, jobShownBy} from './jobs.js';

const ENDED = ['done', 'failed', 'cancelled'];
let shown = {id: null, job: null, why: null, waits: null, as_of: null, changed: false}, redraw = () => {};

export function jobDrawnBy(draw) {
    redraw = draw;
    jobShownBy(() => load(shown.id));
}

export function enter(id) {
    if (shown.id !== id)
        shown = {id, job: null, why: null, waits: null, as_of: null, changed: false};
    load(id);
}

async function load(id) {
    try {
        const {job} = await ask(`/jobs/${encodeURIComponent(id)}`);
        const waits = ENDED.includes(job.status) ? null : await ask(`/jobs/${job.id}/why`).catch(() => null);
        if (shown.id === id)
            shown = {id, job, why: null, waits: waits?.why || null, as_of: new Date().toISOString(), changed: false};
    } catch (why) {
        if (shown.id === id)
            shown.why = why;
    }
    redraw();
}

export function happened(kind, event) {
    if (!shown.job || (kind === 'job' ? event.id !== shown.job.id : !['pause', 'portal'].includes(kind) || ENDED.includes(shown.job.status)))
        return;
    shown.changed = true;
    load(shown.id); /* one job, by its key */
}

/* ---- the picture --------------------------------------------------------------------------------------------- */

const PHASE_AFTER = { /* what goes on after an event; others change nothing */
    queued: 'wait', started: 'run', rescued: 'run', epoch_raised: 'run', robot_changed: 'run', retrying: 'wait', retried: 'wait',
    done: 'session', migrated: 'session', adopted: 'session', migration_started: 'run', migration_failed: 'session', failed: 'end', cancelled: 'end',
    session_closed: 'end', session_expired: 'end', session_lost: 'end',
};

/* Its first event; created_at knows seconds only. */
const begun = job => Date.parse(job.timeline?.[0]?.at || job.created_at);

/* [{from, to, kind}], ms, from its events; `to` of the last one is now while something goes on. */
function phases(job, now) {
    const events = (job.timeline || []).map(e => ({...e, ms: Date.parse(e.at)}));
    const list = [];
    let kind = events.length ? 'end' : 'wait', from = begun(job);
    for (const e of events) {
        const next = PHASE_AFTER[e.event];
        if (next === undefined || (next === kind && e.event !== 'started'))
            continue;
        if (e.ms > from && kind !== 'end')
            list.push({from, to: e.ms, kind});
        kind = next;
        from = e.ms;
    }
    if (kind !== 'end' && (!ENDED.includes(job.status) || kind === 'session'))
        list.push({from, to: now, kind, isOpen: true});
    return {events, list};
}

function picture(job) {
    const now = Date.now(), {events, list} = phases(job, now), work = list.filter(p => p.kind !== 'session');
    const begin = begun(job), last = Math.max(begin + 1, ...work.map(p => p.to), ...events.map(e => e.ms));
    const W = 1000, x = ms => 10 + (Math.min(ms, last) - begin) / (last - begin) * (W - 20);
    const marks = [0, 0.25, 0.5, 0.75, 1];
    return h('figure', {class: 'timeline'},
        h('svg:svg', {viewBox: `0 0 ${W} 92`, role: 'img', 'aria-label': t('timeline_label', duration((last - begin) / 1000)), preserveAspectRatio: 'none', class: 'timeline-bars'},
            h('svg:line', {class: 'axis', x1: 10, x2: W - 10, y1: 64, y2: 64}),
            list.filter(p => p.from < last || p.isOpen).map((p, i) => h('svg:rect', {class: `phase is-${p.kind}${p.isOpen ? ' is-open' : ''}`, key: 'p' + i,
                x: x(p.from), y: 24, width: Math.max(3, x(p.to) - x(p.from)), height: 30, rx: 4}, h('svg:title', {}, `${t('phase_' + p.kind)} ${duration((p.to - p.from) / 1000)}`))),
            events.map((e, i) => h('svg:g', {key: 'e' + i}, h('svg:line', {class: 'event-line', x1: x(e.ms), x2: x(e.ms), y1: 16, y2: 64}))),
            marks.map(m => h('svg:line', {key: 'm' + m, class: 'axis', x1: 10 + m * (W - 20), x2: 10 + m * (W - 20), y1: 64, y2: 70}))),
        h('div', {class: 'timeline-marks', 'aria-hidden': 'true'}, marks.map(m => h('span', {key: String(m)}, m === 0 ? clock(new Date(begin).toISOString()) : '+' + duration((last - begin) * m / 1000)))),
        h('figcaption', {class: 'legend'}, ['wait', 'run', 'session'].map(kind => {
            const sum = list.filter(p => p.kind === kind).reduce((a, p) => a + (p.to - p.from), 0);
            return h('span', {key: kind, class: `legend-item is-${kind}`}, h('i', {class: `phase is-${kind}`}), t('phase_' + kind), ' ', h('b', {}, sum ? duration(sum / 1000) : '–'));
        })));
}

function story(job) {
    const begin = begun(job);
    if (!job.timeline?.length)
        return h('p', {class: 'empty'}, t('no_timeline'));
    return h('ol', {class: 'story'}, job.timeline.map((e, i) =>
        h('li', {key: String(i), class: `is-${PHASE_AFTER[e.event] || 'other'} ev-${e.event}`},
            h('span', {class: 'story-when'}, h('time', {datetime: e.at, title: e.at}, moment(e.at)), h('small', {}, '+' + duration(Math.max(0, Date.parse(e.at) - begin) / 1000))),
            h('span', {class: 'story-what'}, h('b', {}, nameOf('event_' + e.event)),
                e.worker && [' ', t('on_robot', e.worker)], e.dispatcher && [' ', t('by_dispatcher', e.dispatcher)], e.detail && h('span', {class: 'story-detail'}, ' ', e.detail)))));
}

/* ---- the page ------------------------------------------------------------------------------------------------ */

/* {reason, detail, ...}: in the page's language when it has words for it; numbers and times that came along follow. */
export function reason(one) {
    const text = knows('why_' + one.reason) ? nameOf('why_' + one.reason) : one.detail;
    const more = [one.n !== undefined && count({n: one.n, capped: one.capped}), one.at && `${moment(one.at)} (${ago(one.at)})`, one.until && t('paused_until', moment(one.until)),
        one.robot && t('on_robot', one.robot), one.dispatcher && t('by_dispatcher', one.dispatcher), one.by, one.why, one.error, one.job_id && t('job_n', one.job_id),
        one.places_total !== undefined && t('places_used', one.places_total - one.places_free, one.places_total)];
    return [text, ' ', h('b', {}, more.filter(Boolean).join(' · '))];
}

export function draw() {
    const {job} = shown;
    if (!job)
        return panel('job', t('job_n', shown.id), {wide: true, tools: h('a', {class: 'button', href: '#/jobs'}, t('all_jobs'))}, shown.why ? failure(shown.why) : h('p', {class: 'empty'}, t('busy')));
    return [
        panel('job', t('job_n', job.id), {as_of: shown.as_of, steady: true, wide: true, tools: [
            h('a', {class: 'button', href: '#/jobs'}, t('all_jobs')),
            mayAct() && mayRetry(job) && button(t('retry'), () => retry(job), {kind: 'primary'}),
            mayAct() && mayCancel(job) && button(t('cancel'), () => cancel(job), {kind: 'danger'}),
            button(t('refresh'), () => load(shown.id))]},
            h('p', {class: 'lead'}, badge(job.status), ' ', h('b', {}, job.action), ' ', t('for_company', job.company_id), ' ', h('code', {}, job.job_uid)),
            failure(shown.why),
            (job.error || job.message) && h('div', {class: 'strip is-bad'}, h('p', {}, h('b', {}, job.error || t('error')), job.message ? ' ' + job.message : '')),
            shown.waits && h('div', {class: 'strip is-info', role: 'status'}, h('h3', {}, t('why_waits')), h('ul', {}, shown.waits.length ? shown.waits.map((one, i) => h('li', {key: String(i)}, reason(one))) : h('li', {}, t('why_nothing')))),
            picture(job),
            fields([
                [t('company'), h('a', {href: `#/companies/${job.company_id}`}, String(job.company_id))], [t('portal'), job.portal], [t('priority'), String(job.priority ?? '–')],
                [t('attempts'), String(job.attempts ?? '–')], [t('robot'), job.worker], [t('batch'), job.batch_id ? h('a', {href: `#/batches/${job.batch_id}`}, String(job.batch_id)) : '–'],
                [t('session'), job.session_id ? h('a', {href: '#/sessions?' + new URLSearchParams({state: 'all', session_id: job.session_id})}, h('code', {}, job.session_id)) : '–', 'is-whole'],
                [t('created'), moment(job.created_at)], [t('available'), moment(job.available_at)], [t('started'), moment(job.started_at)], [t('finished'), moment(job.finished_at)], [t('took'), took(job)],
            ])),
        panel('story', t('timeline'), {wide: true}, story(job)),
    ];
}
