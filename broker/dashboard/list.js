// SPDX-License-Identifier: MIT
/*
 * list.js - a page of rows from the database, asked for once when somebody looks, filters or turns the page; never by a
 * clock. What changes meanwhile comes with the event stream: rows that are shown are marked at once, others are counted
 * and shown when asked for.
 */
import {h} from './view.js';
import {t} from './text.js';
import {ask, world} from './broker.js';
import {panel, button, failure} from './part.js';
import {number} from './format.js';

const EMPTY_PAGES = 20;
const limit = () => (matchMedia('(max-width: 40rem)').matches ? 15 : 50); /* on a phone a row is a card */
let redraw = () => {};

export function listsDrawnBy(draw) {
    redraw = draw;
}

/* A time is asked for by the reader's clock, and stands in the address in UTC. */
const two = n => String(n).padStart(2, '0');
export const utcOf = local => (local ? new Date(local).toISOString().slice(0, 19) + 'Z' : '');
export function localOf(utc) {
    const at = new Date(utc);
    return utc && !isNaN(at) ? `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}` : '';
}

/* A day by the reader's clock: `back` days ago. */
export function day(back) {
    const from = new Date(), to = new Date();
    from.setHours(0, 0, 0, 0);
    from.setDate(from.getDate() - back);
    to.setHours(24, 0, 0, 0);
    to.setDate(to.getDate() - back);
    return {since: utcOf(from), until: back ? utcOf(to) : ''};
}

/* The filters stand in the address, so that a view can be sent to somebody. */
export function addressOf(view, filter) {
    const given = Object.entries(filter).filter(([, value]) => value);
    return `#/${view}` + (given.length ? '?' + new URLSearchParams(given) : '');
}

export class List {
    /* view: its name in the address; path below /api/v1/ops; member: of the answer; filters: names of query members. */
    constructor(view, path, member, filters, defaults = {}) {
        Object.assign(this, {view, path, member, filters, defaults, rows: null, next: null, as_of: null, why: null, changes: 0, turn: 0, busy: false, shownFor: null, filter: {}, more_word: 'older'});
    }

    enter(query) {
        const given = Object.fromEntries(this.filters.map(name => [name, query.has(name) ? query.get(name) : this.defaults[name] || '']));
        this.filter = given;
        this.load();
    }

    async load() {
        const turn = ++this.turn;
        this.busy = true;
        redraw();
        try {
            const told = await this.page(undefined, turn);
            if (turn !== this.turn)
                return;
            Object.assign(this, {rows: told[this.member], next: told.next_cursor, as_of: new Date().toISOString(), why: null, changes: 0});
            this.shownFor = JSON.stringify(this.filter);
        } catch (why) {
            if (turn === this.turn)
                this.refused(why);
        }
        this.busy = false;
        redraw();
    }

    /* What stands there answers another question; only a silence of the broker leaves rows of this very one. */
    refused(why) {
        this.why = why;
        if ((why.status >= 400 && why.status < 500) || this.shownFor !== JSON.stringify(this.filter))
            Object.assign(this, {rows: null, told: null, next: null, as_of: null, changes: 0, shownFor: null});
    }

    /* One page below `cursor`. The server looks at so many rows for one answer: an empty page may have others after it. */
    async page(cursor, turn) {
        let told;
        for (let i = 0; i < EMPTY_PAGES; i++) {
            told = await ask(this.path, {...this.query(), limit: limit(), cursor});
            cursor = told.next_cursor;
            if (told[this.member].length || !cursor || turn !== this.turn)
                break;
        }
        return told;
    }

    async more() {
        const turn = this.turn;
        this.busy = true;
        redraw();
        try {
            const told = await this.page(this.next, turn);
            if (turn === this.turn)
                Object.assign(this, {rows: this.rows.concat(told[this.member]), next: told.next_cursor, why: null});
        } catch (why) {
            this.why = why;
        }
        this.busy = false;
        redraw();
    }

    lost(event) {
        this.happened(null, null, event.count || 1);
    }

    query() {
        return Object.fromEntries(Object.entries(this.filter).filter(([, value]) => value !== 'all'));
    }

    /* An event: of a row that is shown, or of `n` others. */
    happened(row, change, n = 1) {
        if (row)
            Object.assign(row, change);
        else
            this.changes += n;
        redraw();
    }

    submit(event) {
        event.preventDefault();
        const given = Object.fromEntries(new FormData(event.currentTarget));
        for (const field of event.currentTarget.elements)
            if (field.name)
                given[field.name] = field.type === 'datetime-local' ? utcOf(field.value) : given[field.name].trim();
        const to = addressOf(this.view, given);
        if (location.hash === to)
            this.load();
        else
            location.hash = to;
    }

    /* inputs: [{name, label, type?, options?, hint?}] */
    form(inputs, extra) {
        const isSet = Object.entries(this.filter).some(([name, value]) => value && value !== (this.defaults[name] || ''));
        const isAsked = inputs.some(({name}) => this.filter[name] && this.filter[name] !== (this.defaults[name] || ''));
        return h('details', {class: 'box', key: 'box', onshown: node => { node.isSeen ||= (node.open = isAsked || matchMedia('(min-width: 40.01rem)').matches, true); }},
            h('summary', {}, t('filter')), this.fields(inputs, extra, isSet));
    }

    fields(inputs, extra, isSet) {
        return h('form', {class: 'filters', role: 'search', 'aria-label': t('search'), onsubmit: event => this.submit(event), key: 'filters' + JSON.stringify(this.filter)},
            inputs.map(one => h('p', {class: `field${one.kind ? ' is-' + one.kind : ''}`},
                h('label', {for: `f-${this.view}-${one.name}`}, one.label),
                one.options
                    ? h('select', {id: `f-${this.view}-${one.name}`, name: one.name, onchange: event => event.currentTarget.form.requestSubmit()},
                        one.options.map(([value, text]) => h('option', {value, selected: value === (this.filter[one.name] || '')}, text)))
                    : h('input', {id: `f-${this.view}-${one.name}`, name: one.name, type: one.kind === 'time' ? 'datetime-local' : 'search', inputmode: one.kind === 'number' ? 'numeric' : null,
                        pattern: one.kind === 'number' ? '[0-9]*' : null, maxlength: 100, placeholder: one.hint || null, autocomplete: 'off',
                        onshown: node => { if (!node.isFilled) { node.isFilled = true; node.value = (one.kind === 'time' ? localOf : String)(this.filter[one.name] || ''); } }}))),
            h('p', {class: 'field is-act'}, h('button', {type: 'submit', class: 'button is-primary'}, t('search')),
                isSet && h('a', {class: 'button', href: addressOf(this.view, {})}, t('clear')), extra));
    }

    frame(id, title, form, body, tools, note) {
        return panel(id, title, {as_of: this.as_of, steady: true, wide: true, note, tools: [!this.why && tools,
            button(this.busy ? t('busy') : t('refresh'), () => this.load(), {disabled: this.busy})]},
            form,
            this.changes > 0 && h('p', {class: 'strip is-info'}, t('changes_since', number(this.changes)), ' ', button(t('show_them'), () => this.load(), {kind: 'small'})),
            failure(this.why),
            this.why ? this.rows?.length > 0 && body : this.rows === null ? h('p', {class: 'empty'}, t('busy')) : body,
            this.next !== null && this.next !== undefined && h('p', {class: 'more'}, button(this.busy ? t('busy') : t(this.more_word), () => this.more(), {disabled: this.busy})));
    }
}

/* A text that may be long: cut for the eye, whole for the pointer and the clipboard. */
export function cut(text, max = 14) {
    if (!text)
        return '–';
    return h('span', {class: 'cut', title: text}, text.length > max ? text.slice(0, max) + '…' : text);
}

export const isLive = () => world.link === 'live';
