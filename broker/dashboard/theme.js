// SPDX-License-Identifier: MIT
/* theme.js - the chosen theme, before anything is painted. Not a module: it runs at once. */
'use strict';
try {
    const theme = localStorage.getItem('chasqui.theme');
    if (theme === 'light' || theme === 'dark')
        document.documentElement.dataset.theme = theme;
} catch {
    /* a browser that keeps nothing shows its own theme */
}
