// SPDX-License-Identifier: MIT
//
// pages.js - the portal's pages, rendered on the server. Every value is escaped by the `html` tag.

import { PAGES } from './mailbox.js';

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
class Markup extends String {}
const escape = (value) => (value instanceof Markup ? String(value) : String(value ?? '').replace(/[&<>"']/g, (c) => ESCAPES[c]));
const html = (parts, ...values) =>
  new Markup(parts.reduce((text, part, i) => text + [values[i - 1]].flat().map(escape).join('') + part));

function layout(title, body) {
  return String(html`<!doctype html>
<html lang="es">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: #f3f5f8; color: #1b2733 }
header { background: #0b4f8a; color: #fff; padding: 12px 24px; font-weight: 600 }
main { max-width: 860px; margin: 24px auto; background: #fff; padding: 24px; border-radius: 8px }
label { display: block; margin: 12px 0 4px } input, select { font: inherit; padding: 6px 8px; width: 100%; box-sizing: border-box }
button { margin-top: 16px; font: inherit; padding: 8px 20px; background: #0b4f8a; color: #fff; border: 0; border-radius: 4px }
.error { background: #fde8e8; color: #8a1010; padding: 8px 12px; border-radius: 4px }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: 6px 8px; border-bottom: 1px solid #dde3ea }
</style>
</head>
<body><header>Portal de demostración</header><main>${body}</main></body>
</html>`);
}

// `captcha` is a question such as "3 + 4", or undefined.
export const login = ({ error, captcha }) =>
  layout('Iniciar sesión', html`<h1>Iniciar sesión</h1>
${error ? html`<p class="error" id="error" data-code="${error.code}">${error.text}</p>` : ''}
<form method="post" action="/login">
<label for="tipo">Tipo de acceso</label>
<select id="tipo" name="tipo"><option value="dni">DNI</option><option value="ruc">RUC</option></select>
<label for="ruc">RUC</label><input id="ruc" name="ruc" inputmode="numeric" autocomplete="off">
<label for="usuario">Usuario</label><input id="usuario" name="usuario" autocomplete="off">
<label for="clave">Clave</label><input id="clave" name="clave" type="password">
${captcha ? html`<div id="captcha"><label for="respuesta">¿Cuánto es ${captcha}?</label><input id="respuesta" name="respuesta"></div>` : ''}
<button id="entrar" type="submit">Entrar</button>
</form>`);

export const menu = ({ ruc }) =>
  layout(`Menú SOL ${ruc}`, html`<h1>Bienvenido, ${ruc}</h1>
<p id="reloj"></p>
<ul><li><a id="buzon" href="/buzon">Buzón electrónico</a></li><li><a id="salir" href="/salir">Salir</a></li></ul>
<label for="nota">Nota</label><input id="nota" placeholder="Escriba aquí">
<script>setInterval(() => { reloj.textContent = new Date().toLocaleTimeString('es-PE'); }, 500);</script>`);

export const buzon = ({ ruc, number, messages }) =>
  layout(`Buzón ${ruc}`, html`<h1>Buzón electrónico</h1>
<table id="mensajes" data-page="${number}" data-pages="${PAGES}">
<thead><tr><th>Asunto</th><th>Fecha</th><th></th></tr></thead>
<tbody>${messages.map((m) => html`<tr data-id="${m.number}"><td class="asunto">${m.subject}</td><td class="fecha">${m.date}</td>
<td><a class="archivo" href="/buzon/${m.number}.pdf">constancia-${m.number}.pdf</a></td></tr>`)}</tbody></table>
<p>Página ${number} de ${PAGES} ${number > 1 ? html`<a href="/buzon?page=${number - 1}">Anterior</a>` : ''}
${number < PAGES ? html`<a href="/buzon?page=${number + 1}">Siguiente</a>` : ''}</p>`);

export const expired = () =>
  layout('Sesión terminada', html`<h1 id="sesion-terminada">Su sesión ha terminado</h1><p><a href="/login">Iniciar sesión</a></p>`);

export const maintenance = () =>
  layout('Mantenimiento', html`<h1 id="mantenimiento">Portal en mantenimiento</h1><p>Vuelva a intentar más tarde.</p>`);
