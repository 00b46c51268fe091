// SPDX-License-Identifier: MIT
/* thing.js - a page about one thing, or about few of them: asked for when somebody comes, and again when it changed, though
 * not more than once in EVERY_MS however much happens. */
import {h} from './view.js';
import {t} from './text.js';
import {panel, button, failure} from './part.js';

const EVERY_MS = 3000;
let redraw = () => {};

export function thingsDrawnBy(draw) {
    redraw = draw;
}

export class Thing {
    /* read(id) asks for everything about it and answers what `told` becomes. */
    constructor(read) {
        Object.assign(this, {read, id: null, told: null, why: null, as_of: null, turn: 0, timer: 0, at: 0});
    }

    enter(id) {
        if (this.id !== id)
            Object.assign(this, {id, told: null, why: null, as_of: null});
        this.load();
    }

    async load() {
        const turn = ++this.turn;
        clearTimeout(this.timer);
        this.timer = 0;
        this.at = performance.now();
        try {
            const told = await this.read(this.id);
            if (turn === this.turn)
                Object.assign(this, {told, why: null, as_of: new Date().toISOString()});
        } catch (why) {
            if (turn === this.turn)
                this.why = why;
        }
        redraw();
    }

    /* It is another one than a moment ago; `isShown()` is asked again when its turn has come. */
    changed(isShown) {
        if (this.timer || !this.told)
            return;
        this.timer = setTimeout(() => {
            this.timer = 0;
            if (isShown() && !document.hidden)
                this.load();
        }, Math.max(0, this.at + EVERY_MS - performance.now()));
    }

    refresh() {
        return button(t('refresh'), () => this.load());
    }

    /* Until it is there. */
    empty(id, title, tools) {
        return panel(id, title, {wide: true, tools: [tools, this.why && this.refresh()]}, this.why ? failure(this.why) : h('p', {class: 'empty'}, t('busy')));
    }
}
