// SPDX-License-Identifier: MIT
/*
 * picked.js - rows of a list that somebody picks one by one with check boxes. What is picked is always seen: a row that
 * goes, or that nothing can be done about any more, is picked no longer.
 */
import {h} from './view.js';
import {t} from './text.js';
import {number} from './format.js';

let redraw = () => {};

export function picksDrawnBy(draw) {
    redraw = draw;
}

export class Picked {
    /* key(row): what it is known by; fits(row): may it be picked? */
    constructor(key, fits) {
        Object.assign(this, {key, fits, keys: new Set(), last: null});
    }

    /* Those of these rows that are picked; forgets the others. */
    of(rows) {
        const picked = (rows || []).filter(row => this.fits(row) && this.keys.has(this.key(row)));
        this.keys = new Set(picked.map(this.key));
        return picked;
    }

    set(rows, isOn) {
        for (const row of rows.filter(this.fits))
            this.keys[isOn ? 'add' : 'delete'](this.key(row));
        redraw();
    }

    clear() {
        this.keys.clear();
        redraw();
    }

    /* With the shift key all from the last one that was clicked. */
    click(event, row, rows) {
        const isOn = event.currentTarget.checked, from = rows.findIndex(one => this.key(one) === this.last), to = rows.indexOf(row);
        this.last = this.key(row);
        this.set(event.shiftKey && from >= 0 ? rows.slice(Math.min(from, to), Math.max(from, to) + 1) : [row], isOn);
    }

    box(row, rows, label) {
        return this.fits(row) && h('input', {type: 'checkbox', class: 'tick', 'aria-label': label, title: label, checked: this.keys.has(this.key(row)), onclick: event => this.click(event, row, rows)});
    }

    said() {
        const n = this.keys.size;
        return n ? t(n === 1 ? 'picked_one' : 'picked_n', number(n)) : t('picked_none');
    }

    /* Above the table: all on this page, and how many are picked. */
    all(rows) {
        const fit = rows.filter(this.fits), n = this.keys.size;
        return fit.length > 0 && h('div', {class: 'picks', key: 'picks'},
            h('label', {class: 'picks-all'},
                h('input', {type: 'checkbox', class: 'tick', checked: n === fit.length, onclick: event => this.set(fit, event.currentTarget.checked),
                    onshown: node => { node.indeterminate = n > 0 && n < fit.length; }}),
                h('span', {}, t('pick_all', number(fit.length)))),
            h('span', {class: 'picks-n', role: 'status', 'aria-live': 'polite'}, this.said()));
    }

    /* Below it, and always in sight while something is picked: what can be done. */
    acts(...acts) {
        return this.keys.size > 0 && h('div', {class: 'picks is-acts', role: 'group', 'aria-label': t('picks'), key: 'picks-acts'}, h('b', {'aria-hidden': 'true'}, this.said()), h('span', {class: 'acts'}, acts));
    }
}
