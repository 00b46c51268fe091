// SPDX-License-Identifier: MIT
/* alertlist.js - the alerts: what goes on, who knows of it and why, what is muted and until when, what was sent, and what is over. */
import {h} from './view.js';
import {t, word, name as nameOf} from './text.js';
import {ask, mayAct, world} from './broker.js';
import {panel, badge, button, failure, table} from './part.js';
import {moment, ago, number} from './format.js';
import {acknowledge, mute, unmute} from './alerts.js';
import {Thing} from './thing.js';

const page = new Thing(() => ask('/alerts', {limit: 200}));
const again = () => page.load();

const last = told => [told.webhook, told.mail].filter(Boolean).sort().pop();
const level = one => (one.acked_by || one.state !== 'open' ? 'idle' : one.level);

function known(one) {
    return [one.acked_by && h('span', {}, t('acked_by', one.acked_by), one.acked_at && ` · ${ago(one.acked_at)}`, one.ack_reason && h('small', {}, `“${one.ack_reason}”`)),
        one.muted_until && h('small', {}, t('muted_until', moment(one.muted_until))), !one.acked_by && !one.muted_until && '–'];
}

function acts(one) {
    const said = {...one, text: word(one, 'text'), alert: one};
    return h('span', {class: 'acts'}, !one.acked_by && button(t('ack'), () => acknowledge(said, again), {kind: 'small', label: t('ack_of', said.text)}),
        one.muted_until ? button(t('unmute'), () => unmute(said, again), {kind: 'small', label: t('unmute_of', said.text)}) : button(t('mute'), () => mute(said, again), {kind: 'small', label: t('mute_of', said.text)}));
}

function list(id, title, rows, isOpen, empty) {
    return panel(id, title, {as_of: page.as_of, steady: true, wide: true, tools: isOpen && page.refresh()}, isOpen && failure(page.why),
        table(title, [
            {head: t('alert_what'), kind: 'lead', cell: a => [h('b', {}, word(a, 'text')), isOpen && h('small', {}, word(a, 'todo')), h('small', {class: 'mono'}, [a.code, a.who].filter(Boolean).join(' '))]},
            {head: t('state'), cell: a => badge(a.state, level(a), nameOf('alert_' + (a.isOver ? 'ending' : a.state)))},
            {head: t('alert_since'), kind: 'when', cell: a => h('time', {datetime: a.first_at, title: a.first_at}, moment(a.first_at))},
            isOpen ? {head: t('alert_known'), cell: known} : {head: t('alert_over'), kind: 'when', cell: a => moment(a.ended_at)},
            {head: t('alert_sent'), kind: 'when', cell: a => moment(last(a.told))},
            isOpen && mayAct() && {head: t('actions'), kind: 'act', cell: acts},
        ].filter(Boolean), rows, a => a.id, empty));
}

function mutes({mutes: rows}) {
    return panel('mutes', t('mutes_title'), {as_of: page.as_of, steady: true, note: t('mutes_note')},
        table(t('mutes_title'), [
            {head: t('alert_what'), kind: 'lead mono', cell: m => [m.code, m.who].filter(Boolean).join(' ')},
            {head: t('until'), kind: 'when', cell: m => moment(m.until)},
            {head: t('who'), cell: m => [m.by, m.reason && h('small', {}, `“${m.reason}”`)]},
            mayAct() && {head: t('actions'), kind: 'act', cell: m => {
                const said = {...m, text: [m.code, m.who].filter(Boolean).join(' ')};
                return button(t('unmute'), () => unmute(said, again), {kind: 'small', label: t('unmute_of', said.text)});
            }},
        ].filter(Boolean), rows, m => m.code + (m.who || ''), t('mutes_none')));
}

function channels({channels: rows}) {
    return panel('channels', t('channels_title'), {as_of: page.as_of, steady: true},
        table(t('channels_title'), [
            {head: t('channel'), kind: 'lead', cell: c => h('b', {}, c.channel)},
            {head: t('alert_sent'), kind: 'when', cell: c => moment(c.told_at)},
            {head: t('channel_hour'), kind: 'num', cell: c => number(c.sent_in_hour)},
            {head: t('channel_fails'), cell: c => (c.failed_since ? [ago(c.failed_since), h('small', {}, c.last_error || '')] : '–')},
        ], rows, c => c.channel, t('channels_none')));
}

export function enter() {
    page.enter('all');
}

/* An open one in the words of this second, where the headline has it; else what the list says of it is asked for again. */
function now(open) {
    const said = (world.stats?.words || []).filter(one => one.level !== 'ok'), is = (a, b) => a.code === b.code && (a.who || '') === (b.who || '');
    if (world.stats && (open.some(one => !said.some(word => is(one, word))) || said.some(word => word.alert && !open.some(one => is(one, word)))))
        page.changed(() => location.hash.startsWith('#/alerts'));
    return open.map(one => {
        const word = said.find(other => is(one, other)), {text, text_es, todo, todo_es, level: its} = word || one;
        return {...one, text, text_es, todo, todo_es, level: its, isOver: !word && one.said_s_ago > 0};
    });
}

export function draw() {
    const {told} = page;
    if (!told)
        return page.empty('alerts', t('alerts_title'));
    return [list('alerts', t('alerts_title'), now(told.alerts.filter(one => one.state === 'open')), true, t('alerts_none')),
        h('div', {class: 'grid', key: 'grid'}, mutes(told), channels(told)),
        list('over', t('alerts_over'), told.alerts.filter(one => one.state !== 'open').slice(0, 50), false, t('alerts_over_none'))];
}
