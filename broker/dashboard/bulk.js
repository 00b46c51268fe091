// SPDX-License-Identifier: MIT
/* bulk.js - many jobs at once: the dialog says first how many that would be. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {act} from './broker.js';
import {confirm, redrawDialog, button, said} from './part.js';
import {count} from './format.js';
import {saveAll} from './csv.js';

const NUMBERS = ['company_id', 'batch_id'];
const COLUMNS = ['id', 'job_uid', 'company_id', 'portal', 'action', 'status', 'attempts', 'batch_id', 'worker', 'error', 'message', 'robot_status', 'robot_error', 'robot_message', 'created_at', 'started_at', 'finished_at'];

/* Of a filter as it stands in an address: what the broker takes. */
function taken(filter) {
    return Object.fromEntries(Object.entries(filter).filter(([, value]) => value && value !== 'all')
        .map(([name, value]) => [name, NUMBERS.includes(name) && Number.isSafeInteger(Number(value)) ? Number(value) : value]));
}

export function bulk(action, given, done) {
    const filter = taken(given);
    let found = null, why = null;
    const described = Object.entries(filter).map(([name, value]) => `${t('filter_' + name)}: ${name === 'status' ? nameOf(value) : value}`);
    confirm({title: t(`bulk_${action}_title`), action: t(action), kind: action === 'cancel' ? 'danger' : 'primary', inputs: [{name: 'reason', label: t('reason')}],
        ready: () => found !== null && found.n > 0,
        body: () => [
            h('p', {}, described.length ? described.join(' · ') : t('bulk_all')),
            h('p', {class: 'big', role: 'status', 'aria-live': 'polite'}, why ? said(why) : found === null ? t('bulk_counting') : t(`bulk_${action}_n`, count(found))),
            found && found.credentials_refused > 0 && h('p', {class: 'note'}, t('bulk_still', count(found.credentials_refused))),
            h('p', {class: 'note'}, t(`bulk_${action}_note`))],
        run: async ({reason}) => {
            const told = await act('/jobs/bulk', {action, filter, preview: false, reason: reason || undefined});
            done();
            return t(`bulk_${action}_told`, count(told));
        }});
    act('/jobs/bulk', {action, filter, preview: true}).then(told => { found = told; }, refusal => { why = refusal; }).then(redrawDialog);
}

/* The jobs that a filter finds, as a file. */
export const jobsCsv = (file, filter) => saveAll(file, COLUMNS, '/jobs', 'jobs', taken(filter));

/* Of a class of failures as the errors' list has it: what may be done about it. */
export function classActs(one, scope, mayAct, done, {since, until} = {}) {
    const filter = {...scope, status: 'failed', error: one.error, robot_error: one.robot_error}, words = [one.error, one.robot_error].filter(Boolean).join(' ');
    const isOurs = ['login', 'session'].includes(one.kind) && one.error;
    return [mayAct && isOurs && button(t('retry_these'), () => bulk('retry', filter, done), {kind: 'small', label: t('retry_these_of', words)}),
        one.error && button('CSV', () => jobsCsv(`${words.replaceAll(/[^A-Za-z0-9_]+/g, '-')}.csv`, {...filter, since, until}), {kind: 'small', label: t('csv_of', words)})];
}
