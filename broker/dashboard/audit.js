// SPDX-License-Identifier: MIT
/* audit.js - who did what, when and from where. */
import {h} from './view.js';
import {t} from './text.js';
import {table} from './part.js';
import {moment} from './format.js';
import {List, cut} from './list.js';

const list = new List('audit', '/audit', 'audit', ['search']);

const text = value => (value === null || value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value));

export function enter(query) {
    list.enter(query);
}

export function draw() {
    return list.frame('audit', t('audit_title'),
        list.form([{name: 'search', label: t('audit_search'), kind: 'wide'}]),
        table(t('audit_title'), [
            {head: t('when'), kind: 'when', cell: a => h('time', {datetime: a.at, title: a.at}, moment(a.at))},
            {head: t('who'), kind: 'lead', cell: a => [h('b', {}, a.actor), h('small', {}, a.peer || '')]},
            {head: t('did'), kind: 'mono', cell: a => a.action},
            {head: t('to_what'), cell: a => a.subject},
            {head: t('detail'), kind: 'span', cell: a => [a.before !== undefined && a.before !== null ? `${text(a.before)} → ${text(a.after)}` : '', ' ', text(a.detail), a.reason ? ` “${a.reason}”` : '']},
            {head: t('request'), kind: 'mono', cell: a => cut(a.request_id, 10)},
        ], list.rows, a => a.id ?? `${a.at}${a.subject}`, t('no_audit')));
}
