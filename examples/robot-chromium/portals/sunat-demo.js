// SPDX-License-Identifier: MIT
//
// sunat-demo.js - how a person uses the demonstration portal, as a program: select, type, wait, scrape.
//
// A portal module is stateless. It gets a page of the session's own browser context and answers plain values. What the
// portal says no to is a PortalError with a code of the robot contract; anything else that is thrown is a fault of the
// robot.

import { PortalError } from '../portal-error.js';

export const name = 'sunat';

const REFUSALS = { bad_credentials: 401, account_locked: 403, captcha: 403 };

// What page are we on? Throws for those on which nothing can be done.
async function look(page) {
  const seen = await page.evaluate(() => ({
    isMaintenance: !!document.querySelector('#mantenimiento'),
    isExpired: !!document.querySelector('#sesion-terminada'),
    isCaptcha: !!document.querySelector('#captcha'),
    error: document.querySelector('#error')?.dataset.code,
    text: document.querySelector('#error')?.textContent,
  }));
  if (seen.isMaintenance) throw new PortalError(503, 'portal_maintenance', 'The portal is in maintenance.');
  if (seen.isExpired) throw new PortalError(404, 'session_not_found', 'The portal has ended the session.');
  return seen;
}

async function open(page, url, timeout) {
  const answer = await page.goto(url, { waitUntil: 'domcontentloaded', timeout });
  const seen = await look(page);
  if (answer && answer.status() >= 500) throw new PortalError(503, 'portal_unavailable', `The portal answered ${answer.status()}.`);
  return seen;
}

// Logs in with { ruc, usuario, clave }. `captchaWaitMs` is the time that a person has to solve a captcha in the viewer.
// Answers { url, titulo } of the page after the log-in.
export async function login(page, { baseUrl, credentials, timeout, captchaWaitMs }) {
  const seen = await open(page, `${baseUrl}/login`, timeout);
  await page.select('#tipo', 'ruc');
  for (const field of ['ruc', 'usuario', 'clave']) await page.type(`#${field}`, String(credentials[field] ?? ''));
  const moved = page.waitForNavigation({ waitUntil: 'domcontentloaded', timeout: seen.isCaptcha ? Math.max(1, captchaWaitMs) : timeout });
  if (!seen.isCaptcha) await page.click('#entrar');
  try {
    await moved;
  } catch (error) {
    if (seen.isCaptcha) throw new PortalError(403, 'captcha_required', 'The portal asks for a captcha.');
    throw error;
  }
  const after = await look(page);
  if (after.error) throw new PortalError(REFUSALS[after.error] ?? 403, after.error === 'captcha' ? 'captcha_required' : after.error, after.text);
  return { url: page.url(), titulo: await page.title() };
}

// One page of the mailbox: { page, pages, items: [{ id, subject, date, name, href }] }.
export async function list(page, { baseUrl, number, timeout }) {
  await open(page, `${baseUrl}/buzon?page=${number}`, timeout);
  return page.evaluate(() => {
    const table = document.querySelector('#mensajes');
    return {
      page: Number(table.dataset.page),
      pages: Number(table.dataset.pages),
      items: [...table.querySelectorAll('tbody tr')].map((row) => ({
        id: Number(row.dataset.id),
        subject: row.querySelector('.asunto').textContent.trim(),
        date: row.querySelector('.fecha').textContent.trim(),
        name: row.querySelector('.archivo').textContent.trim(),
        href: row.querySelector('.archivo').href,
      })),
    };
  });
}

export async function logout(page, { baseUrl, timeout }) {
  await page.goto(`${baseUrl}/salir`, { waitUntil: 'domcontentloaded', timeout });
}
