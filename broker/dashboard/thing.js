// SPDX-License-Identifier: MIT
/* thing.js - a page about one thing, or about few of them: asked for when somebody comes, and again when it changed, though
 * not more than once in EVERY_MS however much happens. One that `lives` is asked for again each AGAIN_MS while somebody looks:
 * what waits on it moves without an event. */
import {h} from './view.js';
import {t} from './text.js';
import {world} from './broker.js';
import {panel, button, failure} from './part.js';

const EVERY_MS = 3000, AGAIN_MS = 5000;
let redraw = () => {};

export function thingsDrawnBy(draw) {
    redraw = draw;
}

export class Thing {
    /* read(id) asks for everything about it and answers what `told` becomes; lives() = it is shown, and to be asked for again. */
    constructor(read, lives = null) {
        Object.assign(this, {read, lives, id: null, told: null, why: null, as_of: null, turn: 0, timer: 0, again: 0, at: 0});
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
        if (turn === this.turn)
            this.lookAgain();
    }

    lookAgain() {
        if (!this.lives)
            return;
        clearTimeout(this.again);
        this.again = setTimeout(() => {
            if (this.lives())
                document.hidden || world.phase !== 'here' ? this.lookAgain() : this.load();
        }, AGAIN_MS);
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
