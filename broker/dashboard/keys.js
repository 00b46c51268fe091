// SPDX-License-Identifier: MIT
/* keys.js - the page by keys: "/" to the search box, "g" and a letter to a view, "?" tells them. Never while somebody types or answers a dialog. */
import {h} from './view.js';
import {t} from './text.js';
import {world} from './broker.js';
import {confirm} from './part.js';

const GO = {o: '', r: 'robots', s: 'sessions', j: 'jobs', b: 'batches', c: 'schedules', p: 'portals', e: 'errors', h: 'history', a: 'alerts', t: 'tokens', u: 'audit'};
const SECOND_MS = 1500; /* for the letter after "g" */
let goneAt = -SECOND_MS;

function help() {
    const row = (keys, text) => h('div', {key: keys}, h('dt', {}, keys.split(' ').map(key => h('kbd', {key}, key))), h('dd', {}, text));
    confirm({title: t('keys_title'), isTold: true, action: t('keys_done'), run: async () => '',
        body: () => h('dl', {class: 'keys'}, row('/', t('find')), Object.entries(GO).map(([key, view]) => row(`g ${key}`, t(view ? view + '_title' : 'overview'))), row('?', t('keys_title')))});
}

function find() {
    const field = document.getElementById('find');
    field?.focus();
    field?.select();
}

addEventListener('keydown', event => {
    if (world.phase !== 'here' || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, select, textarea, dialog, [contenteditable]') || document.querySelector('dialog'))
        return;
    const isSecond = performance.now() < goneAt + SECOND_MS;
    goneAt = event.key === 'g' ? performance.now() : -SECOND_MS;
    if (isSecond && event.key in GO)
        location.hash = '#/' + GO[event.key];
    else if (event.key === '/')
        find();
    else if (event.key === '?')
        help();
    else
        return;
    event.preventDefault();
});
