// SPDX-License-Identifier: MIT
/* csv.js - rows as a file for spreadsheets, as the command line writes it: what robots said stands in it, so no text may become a formula. */
import {ask} from './broker.js';
import {number} from './format.js';
import {tell, said} from './part.js';
import {t} from './text.js';

const ROWS_MAX = 20000;

function field(value) {
    if (value === null || value === undefined)
        return '';
    const text = String(value), isFormula = typeof value === 'string' && /^[=+\-@\t\r]/.test(text);
    return isFormula || /[",;\r\n]/.test(text) ? `"${isFormula ? "'" : ''}${text.replaceAll('"', '""')}"` : text;
}

export function csv(rows, columns) {
    return '\ufeff' + [columns, ...rows.map(row => columns.map(name => row[name]))].map(line => line.map(field).join(',') + '\r\n').join('');
}

export function saveRows(name, rows, columns) {
    const url = URL.createObjectURL(new Blob([csv(rows, columns)], {type: 'text/csv;charset=utf-8'})), link = document.createElement('a');
    link.href = url;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/* All pages of a list of the broker's, up to ROWS_MAX rows, as a file; what came of it is told. */
export async function saveAll(file, columns, path, key, filter) {
    const rows = [];
    let cursor;
    try {
        do {
            const told = await ask(path, {...filter, limit: 200, cursor});
            rows.push(...told[key]);
            cursor = told.next_cursor;
        } while (cursor && rows.length < ROWS_MAX);
        saveRows(file, rows, columns);
        tell(t('csv_told', number(rows.length)));
    } catch (why) {
        tell(said(why), 'bad');
    }
}
