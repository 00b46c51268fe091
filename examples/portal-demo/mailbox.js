// SPDX-License-Identifier: MIT
//
// mailbox.js - what stands in a company's mailbox: a pure function of its RUC, so that every process agrees.

import PDFDocument from 'pdfkit';

export const PAGES = 3;
export const PER_PAGE = 10;
const SUBJECTS = ['Notificación de orden de pago', 'Resolución de intendencia', 'Requerimiento de información', 'Esquela de citación'];

// Message `number` (from 1) of a company, or undefined beyond the last.
export function message(ruc, number) {
  if (!Number.isInteger(number) || number < 1 || number > PAGES * PER_PAGE) return undefined;
  const day = String(1 + ((number * 7) % 28)).padStart(2, '0');
  const month = String(1 + (number % 12)).padStart(2, '0');
  return { number, subject: `${SUBJECTS[number % SUBJECTS.length]} ${ruc}-${String(number).padStart(3, '0')}`, date: `2026-${month}-${day}` };
}

export function page(ruc, wanted) {
  if (wanted < 1 || wanted > PAGES) return [];
  return Array.from({ length: PER_PAGE }, (_, i) => message(ruc, (wanted - 1) * PER_PAGE + i + 1));
}

// A stream of the message's PDF; the same bytes each time.
export function pdf(ruc, number) {
  const { subject, date } = message(ruc, number);
  const document = new PDFDocument({
    compress: false,
    info: { Title: subject, CreationDate: new Date(`${date}T00:00:00Z`), ModDate: new Date(`${date}T00:00:00Z`) },
  });
  document.fontSize(16).text(subject).moveDown();
  document.fontSize(11).text(`RUC ${ruc}, ${date}`).moveDown();
  for (let line = 0; line < 40; line++) document.text(`${line + 1}. Texto de la notificación ${ruc}-${number}.`);
  document.end();
  return document;
}
