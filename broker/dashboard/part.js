// SPDX-License-Identifier: MIT
/* part.js - the pieces that every panel is made of. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {clock, secondsSince, number} from './format.js';

const LEVEL = { /* how good a state is; colour and shape follow it */
    up: 'ok', suspect: 'warn', down: 'bad', unknown: 'idle',
    active: 'ok', opening: 'busy', closing: 'busy', closed: 'idle', expired: 'idle', lost: 'bad', migrated: 'idle',
    queued: 'idle', running: 'busy', retrying: 'warn', done: 'ok', failed: 'bad', cancelled: 'idle', open: 'busy',
    draining: 'warn', disabled: 'idle', connected: 'ok', gone: 'bad', ok: 'ok', warn: 'warn', bad: 'bad',
};

export function badge(state, level = LEVEL[state] || 'idle', text = nameOf(state)) {
    return h('span', {class: `badge is-${level}`}, text);
}

/* "as of 10:20:03", and louder when that was a while ago. `isSteady`: the numbers were asked for and do not grow old
 * by themselves. */
export function asOf(iso, isSteady = false) {
    if (!iso)
        return h('span', {class: 'asof'}, t('not_told'));
    const isOld = !isSteady && secondsSince(iso) > 15;
    return h('time', {class: isOld ? 'asof is-old' : 'asof', datetime: iso, title: iso}, t('as_of', clock(iso)));
}

/* folds: on a phone only its head is shown until somebody asks for the rest. The style sheet decides what a phone is. */
const unfolded = new Set();

function foldSwitch(id, title) {
    const isOpen = unfolded.has(id), text = t(isOpen ? 'fold' : 'unfold');
    return h('button', {type: 'button', class: 'button is-small fold', 'aria-expanded': String(isOpen), 'aria-label': `${text}: ${title}`,
        onclick: () => { unfolded[isOpen ? 'delete' : 'add'](id); redraw(); }}, text);
}

export function panel(id, title, {as_of, steady, tools, note, wide, kind, folds} = {}, ...kids) {
    const isFolded = folds && !unfolded.has(id);
    return h('section', {class: `panel${wide ? ' is-wide' : ''}${isFolded ? ' is-folded' : ''}${kind ? ' ' + kind : ''}`, 'aria-labelledby': id + '-h', key: id},
        h('header', {class: 'panel-head'},
            h('h2', {id: id + '-h'}, title),
            folds && foldSwitch(id, title),
            tools && h('div', {class: 'panel-tools'}, tools),
            as_of !== undefined && asOf(as_of, steady)),
        note && h('p', {class: 'note'}, note), kids);
}

/* columns: {head, cell(row), kind?: 'num' | 'mono' | 'act' | 'lead', hint?}; rows need `key(row)`. On narrow screens a
 * row becomes a card and each cell says its head; the roles keep it a table for those who hear it. */
export function table(label, columns, rows, key, empty) {
    if (!rows?.length)
        return h('p', {class: 'empty'}, empty);
    return h('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label},
        h('table', {role: 'table', 'aria-label': label},
            h('thead', {role: 'rowgroup'},
                h('tr', {role: 'row'}, columns.map(c =>
                    h('th', {role: 'columnheader', scope: 'col', class: c.kind || null, title: c.hint || null}, c.head)))),
            h('tbody', {role: 'rowgroup'}, rows.map(row =>
                h('tr', {role: 'row', key: String(key(row))}, columns.map(c =>
                    h('td', {role: 'cell', class: c.kind || null, 'data-head': c.head}, c.cell(row))))))));
}

/* used of total as a bar; `parts` = [[share 0..1, class], ...] */
export function bar(label, parts) {
    let at = 0;
    return h('svg:svg', {class: 'bar', role: 'img', 'aria-label': label, preserveAspectRatio: 'none', viewBox: '0 0 100 10'},
        parts.map(([share, kind]) => {
            const x = at, width = Math.max(0, Math.min(1, share)) * 100;
            at += width;
            return h('svg:rect', {x: x.toFixed(2), y: 0, width: width.toFixed(2), height: 10, class: kind});
        }));
}

/* A robot's places: each one when they are few. */
export function places(used, total) {
    if (used === null || used === undefined)
        return h('p', {class: 'places-none'}, t('not_told'));
    const text = t('places_used', number(used), number(total));
    const dots = Math.max(used, total) <= 48
        ? h('div', {class: 'places', role: 'img', 'aria-label': text}, Array.from({length: Math.max(used, total)}, (_, i) =>
            h('i', {class: i < used ? (i >= total ? 'is-over' : 'is-used') : null})))
        : bar(text, [[total ? used / total : 0, 'fill-accent']]);
    return [h('p', {class: 'places-text', 'aria-hidden': 'true'}, text), dots];
}

export function button(text, onclick, {kind, disabled, label, title} = {}) {
    return h('button', {type: 'button', class: kind ? `button is-${kind}` : 'button', onclick, disabled: !!disabled,
        'aria-label': label || null, title: title || null}, text);
}

/* Out of the page, without telling where from. Only http(s): an address comes from a table that people fill. */
export function outside(url, text, label) {
    return /^https?:\/\//i.test(url || '')
        ? h('a', {href: url, target: '_blank', rel: 'noopener noreferrer', 'aria-label': label || null}, text) : null;
}

export function fields(pairs) {
    return h('dl', {class: 'facts'}, pairs.filter(Boolean).map(([label, value, kind]) =>
        h('div', {class: kind || null}, h('dt', {}, label), h('dd', {}, value ?? '–'))));
}

/* What the broker says of each field: [["portal", "must be ..."], ...] */
const wrong = why => Object.entries(why?.fields || {}).map(([name, texts]) => [name, [texts].flat().join('; ')]);

/* In one line. */
export const said = why => [why.message, ...wrong(why).map(([name, text]) => `${name}: ${text}`)].join(' ');

/* besides: fields that say it themselves. */
export function failure(why, besides = []) {
    const left = wrong(why).filter(([name]) => !besides.includes(name));
    return why && h('div', {class: 'failure', role: 'alert'}, why.message, why.code ? ` (${why.code})` : '',
        left.length > 0 && h('ul', {}, left.map(([name, text]) => h('li', {key: name}, `${name}: ${text}`))));
}

/* ---- what is told in passing ------------------------------------------------------------------------------- */

let toldTimer = 0;

export function tell(text, level = 'ok') {
    const at = document.getElementById('told');
    clearTimeout(toldTimer);
    at.textContent = text;
    at.className = `is-${level} is-shown`;
    toldTimer = setTimeout(() => { at.className = ''; at.textContent = ''; }, level === 'bad' ? 10000 : 5000);
}

/* ---- one dialog at a time ----------------------------------------------------------------------------------- */

let open = null, redraw = () => {};

export function dialogsDrawnBy(draw) {
    redraw = draw;
}

/*
 * Asks before something is done. fields: [{name, label, type, value, hint, options?}]; run(values) does it and answers
 * what is to be told. `body` may be a function, so that it can change while it is open; `ready()` false = not yet.
 * isTold: there is nothing to go back on. isKept: the Escape key does not close it.
 */
export function confirm({title, body, inputs = [], action, kind = 'primary', run, ready = () => true, isTold = false, isKept = false}) {
    open = {title, body, inputs, action, kind, run, ready, isTold, isKept, busy: false, why: null};
    redraw();
}

/* What it says changed. */
export function redrawDialog() {
    redraw();
}

/* The element is closed before it is taken away, so that focus goes back to where it came from; if that is gone, to the
 * content. */
function close() {
    document.querySelector('dialog')?.close();
    open = null;
    redraw();
    setTimeout(() => document.activeElement === document.body && document.getElementById('main')?.focus({preventScroll: true}), 100);
}

const REASON_BYTES = 200; /* the broker counts bytes, a field letters */

function reasonFits(text) {
    const bytes = new TextEncoder().encode(text || '').length;
    if (bytes > REASON_BYTES)
        throw Object.assign(new Error(t('fields_wrong')), {fields: {reason: [t('reason_long', number(bytes), number(REASON_BYTES))]}});
}

/* Somebody went to another view. What is shown once stays. */
export function closeDialog() {
    if (open && !open.isKept)
        close();
}

async function submit(event) {
    event.preventDefault();
    const mine = open, values = Object.fromEntries(new FormData(event.currentTarget));
    if (!mine || mine.busy || !mine.ready())
        return;
    mine.busy = true;
    mine.why = null;
    redraw();
    try {
        reasonFits(values.reason);
        const told = await mine.run(values);
        if (open === mine)
            close();
        if (told)
            tell(told);
    } catch (why) {
        mine.why = why;
        mine.busy = false;
    }
    redraw();
}

function input(field, i) {
    const id = 'ask-' + field.name, [, why] = wrong(open.why).find(([name]) => name === field.name) || [];
    const common = {id, name: field.name, autofocus: i === 0, 'aria-invalid': why ? 'true' : null, 'aria-describedby': why ? id + '-why' : null};
    return h('p', {class: 'field', key: field.name},
        h('label', {for: id}, field.label),
        field.options
            ? h('select', common, field.options.map(([value, text]) => h('option', {value, selected: value === field.value}, text)))
            : h('input', {...common, type: field.type || 'text', maxlength: field.max || 200, placeholder: field.hint || null, autocomplete: 'off', required: !!field.required,
                onshown: node => { if (!node.isFilled) { node.isFilled = true; node.value = field.value ?? ''; } }}),
        why && h('small', {class: 'is-bad-text', id: id + '-why'}, why));
}

/* The browser keeps focus inside, closes it at Esc and gives focus back. */
export function dialog() {
    return open && h('dialog', {class: 'dialog', key: 'dialog', 'aria-labelledby': 'dialog-h', oncancel: event => { event.preventDefault(); open?.isKept || close(); },
        onkeydown: event => { if (event.key === 'Escape' && open?.isKept) event.preventDefault(); },
        onshown: node => node.open || (node.isConnected ? node.showModal() : queueMicrotask(() => node.isConnected && !node.open && node.showModal()))},
        h('form', {onsubmit: submit},
            h('h2', {id: 'dialog-h'}, open.title),
            typeof open.body === 'function' ? open.body() : open.body && h('p', {}, open.body),
            open.inputs.map(input),
            failure(open.why, open.inputs.map(field => field.name)),
            h('p', {class: 'dialog-act'},
                !open.isTold && button(t('cancel_dialog'), close),
                h('button', {type: 'submit', class: `button is-${open.kind}`, disabled: open.busy || !open.ready()}, open.busy ? t('busy') : open.action))));
}
