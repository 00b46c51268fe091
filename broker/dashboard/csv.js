// SPDX-License-Identifier: MIT
/* csv.js - rows as a file for spreadsheets, as the command line writes it: what robots said stands in it, so no text may become a formula. */

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

export function save(name, rows, columns) {
    const url = URL.createObjectURL(new Blob([csv(rows, columns)], {type: 'text/csv;charset=utf-8'})), link = document.createElement('a');
    link.href = url;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/* All pages of a list, up to ROWS_MAX rows. */
export async function all(page) {
    const rows = [];
    let cursor;
    do {
        const told = await page(cursor);
        rows.push(...told.rows);
        cursor = told.next_cursor;
    } while (cursor && rows.length < ROWS_MAX);
    return rows;
}
