// SPDX-License-Identifier: MIT
/* portals.js - the portals as cards: are they up, what holds log-ins back, how the last hour was; pause one, resume one. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {mayAct, ask, act} from './broker.js';
import {panel, badge, bar, button, confirm, fields, table, failure} from './part.js';
import {number, moment, ago} from './format.js';
import {Thing} from './thing.js';
import {cut} from './list.js';

const LEVEL = {up: 'ok', doubtful: 'warn', tripped: 'bad', returning: 'busy'};
const PARTS = [['done', 'fill-ok'], ['refused', 'fill-warn'], ['portal', 'fill-bad'], ['robot', 'fill-bad'], ['unknown', 'fill-idle'], ['database', 'fill-idle'], ['not_called', 'fill-idle'], ['cancelled', 'fill-idle']];
const FOR = [['900', ['minutes', 15]], ['1800', ['minutes', 30]], ['3600', ['hours', 1]], ['14400', ['hours', 4]], ['', ['until_resumed']]];
const page = new Thing(async () => {
    const [{portals}, {refused, next_cursor}] = await Promise.all([ask('/portals'), ask('/credentials/refused', {limit: 50})]);
    return {portals, refused, isMore: !!next_cursor};
}, () => isShown());
const isShown = () => location.hash.startsWith('#/portals');

/* what: {portal} or {batch_id}; words: its texts. */
export function pausePart(what, words, done) {
    confirm({...words, action: t('pause'), kind: 'danger',
        inputs: [{name: 'reason', label: t('reason'), required: true}, {name: 'for_s', label: t('pause_for'), options: FOR.map(([value, text]) => [value, t(...text)])}],
        run: async ({reason, for_s}) => {
            await act('/queue/pause', {...what, reason, for_s: Number(for_s) || undefined});
            done();
            return words.told;
        }});
}

const pause = portal => pausePart({portal: portal.name}, {title: t('pause_portal_title', portal.name), body: t('pause_portal_body'), told: t('paused_portal_told', portal.name)}, () => page.load());

/* A pause ends as it was begun: with the same names. */
function resume(one, done) {
    confirm({title: t('resume_portal_title', scope(one)), action: t('resume'), inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act('/queue/resume', {portal: one.portal ?? undefined, action: one.action ?? undefined, batch_id: one.batch_id ?? undefined, reason: reason || undefined});
            done();
            return t('resumed_portal_told', scope(one));
        }});
}

const scope = one => [one.portal, one.action, one.batch_id && t('batch_n', one.batch_id)].filter(Boolean).join(', ');

/* Who paused it, why, until when; and its end. */
export function pauseStrip(one, key, done) {
    return h('div', {class: 'strip is-warn', key},
        h('p', {}, h('b', {}, scope(one)), ' ', t('paused_by', one.by, ago(one.since)), one.reason ? ` “${one.reason}” ` : ' ', one.until ? t('paused_until', moment(one.until)) : t('until_resumed'), ' ',
            mayAct() && button(t('resume'), () => resume(one, done), {kind: 'small', label: t('resume_portal_title', scope(one))})));
}

export function lift(one, done) {
    confirm({title: t('lift_title', one.company_id), body: t('lift_body'), action: t('lift'), inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act('/credentials/lift', {company_id: one.company_id, portal: one.portal, reason: reason || undefined});
            done();
            return t('lift_told', one.company_id);
        }});
}

function hour(portal) {
    const all = Object.values(portal.last_hour).reduce((a, n) => a + n, 0);
    const words = PARTS.filter(([outcome]) => portal.last_hour[outcome]).map(([outcome]) => `${number(portal.last_hour[outcome])} ${nameOf('outcome_' + outcome)}`).join(' · ');
    return h('div', {class: 'progress'}, h('p', {}, h('b', {}, t('last_hour'))),
        bar(words || t('no_attempts'), PARTS.map(([outcome, kind]) => [all ? (portal.last_hour[outcome] || 0) / all : 0, kind])), h('small', {}, words || t('no_attempts')));
}

function card(portal) {
    const id = 'portal-' + portal.name, {limits} = portal, isPaused = portal.pauses.some(one => one.portal && !one.action && !one.batch_id), limit = n => (n ? number(n) : t('no_limit'));
    return h('li', {class: `card is-${{ok: 'up', warn: 'suspect', bad: 'down', busy: 'suspect'}[LEVEL[portal.state]]}`, key: portal.name, 'aria-labelledby': id},
        h('header', {class: 'card-head'}, h('h3', {id}, portal.name), badge(portal.state, LEVEL[portal.state], nameOf('portal_' + portal.state)),
            portal.pauses.length > 0 && badge('paused', 'warn', nameOf('paused'))),
        h('p', {class: 'card-why'}, t(isPaused && portal.state === 'up' ? 'portal_is_paused' : 'portal_is_' + portal.state), portal.why && ` (${portal.why})`, portal.since && ` ${t('since', ago(portal.since))}`,
            portal.next_probe_at && ` ${t('next_probe', moment(portal.next_probe_at))}`),
        portal.pauses.map((one, i) => pauseStrip(one, 'pause' + i, () => page.load())),
        hour(portal),
        fields([
            [t('opening'), number(portal.running)], [t('waiting'), number(portal.ready)], [t('held'), number(portal.held)],
            [t('logins_per_minute'), limit(limits.logins_per_minute)], [t('logins_at_once'), limit(limits.logins_at_once)],
            [t('breaker'), t(limits.breaker ? 'breaker_on' : 'breaker_off')],
            [t('refused_credentials'), number(portal.refused_credentials)],
        ]),
        h('p', {class: 'card-act'}, h('a', {class: 'button', href: '#/errors?' + new URLSearchParams({since: '3600', portal: portal.name})}, t('its_failures')),
            h('a', {class: 'button', href: '#/jobs?' + new URLSearchParams({portal: portal.name})}, t('its_jobs')),
            mayAct() && button(t('pause'), () => pause(portal), {label: t('pause_portal_title', portal.name)})));
}

export function enter() {
    page.enter('all');
}

export function happened() {
    page.changed(isShown);
}

export function draw() {
    const {told} = page;
    if (!told)
        return page.empty('portals', t('portals_title'));
    const order = {tripped: 0, returning: 1, doubtful: 2, up: 3}, list = [...told.portals].sort((a, b) => order[a.state] - order[b.state]);
    return [panel('portals', t('portals_title'), {as_of: page.as_of, steady: true, wide: true, kind: 'is-bare', tools: page.refresh()}, failure(page.why),
        list.length ? h('ul', {class: 'cards'}, list.map(card)) : h('p', {class: 'empty'}, t('no_portals'))),
    panel('refused', t('refused_title'), {as_of: page.as_of, steady: true, wide: true, note: told.isMore ? t('refused_more') : t('refused_note')},
        table(t('refused_title'), [
            {head: t('company'), kind: 'lead', cell: r => h('a', {href: `#/companies/${r.company_id}`}, String(r.company_id))},
            {head: t('portal'), cell: r => r.portal},
            {head: t('refused_at'), kind: 'when', cell: r => ago(r.refused_at)},
            {head: t('robot_error'), cell: r => h('span', {class: 'why'}, [r.robot_status, r.robot_error].filter(Boolean).join(' '))},
            {head: t('last_words'), cell: r => cut(r.robot_message, 70)},
            {head: t('actions'), kind: 'act', cell: r => h('span', {class: 'acts'}, r.job_id && h('a', {href: `#/jobs/${r.job_id}`}, t('job_n', r.job_id)),
                mayAct() && button(t('lift'), () => lift(r, () => page.load()), {kind: 'small', label: t('lift_title', r.company_id)}))},
        ], told.refused, r => r.company_id + r.portal, t('no_refused')))];
}
