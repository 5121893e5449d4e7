// Keys that lead somewhere; none of them acts on the fleet. Who speaks to the
// machine, or types by accident, turns them off (WCAG 2.1.4) on the page /keys:
// this browser remembers it.
'use strict';

const pages = { o: '/', n: '/nodes', r: '/rollouts', b: '/bundles', e: '/events', c: '/cluster' };
const store = (() => { try { return localStorage; } catch { return null; } })(); // null: it may remember nothing, so keys stay off
const keysAre = { get on() { return store !== null && store.getItem('keys') !== 'off'; } };
const finder = document.querySelector('[data-filter]') ?? document.getElementById('q');
let went = 0; // when "g" was pressed

function showKeys() { // wherever the switch is: a page, or a dialog that just opened
  if (keysAre.on) finder?.setAttribute('aria-keyshortcuts', '/'); else finder?.removeAttribute('aria-keyshortcuts');
  for (const hint of document.querySelectorAll('footer kbd')) hint.hidden = !keysAre.on;
  const box = document.getElementById('keys-on');
  if (!box) return;
  box.checked = keysAre.on;
  box.disabled = store === null;
}

document.addEventListener('change', (e) => {
  if (e.target.id !== 'keys-on') return;
  if (e.target.checked) store.removeItem('keys'); else store.setItem('keys', 'off');
  showKeys();
});
new MutationObserver(showKeys).observe(dialog, { childList: true });

document.addEventListener('keydown', (e) => {
  const after = went;
  went = 0;
  if (!keysAre.on || dialog.open || e.ctrlKey || e.metaKey || e.altKey || e.isComposing || e.repeat) return;
  // What had the focus in a dialog keeps it for a frame after that is shut.
  if (e.target.matches('input, textarea, select, [contenteditable]') && !dialog.contains(e.target)) return;
  if (after && Date.now() - after < 3000 && Object.hasOwn(pages, e.key)) location.assign(pages[e.key]);
  else if (e.key === 'g') went = Date.now();
  else if (e.key === '/') finder?.focus();
  else if (e.key === '?') show('/keys');
  else return;
  e.preventDefault();
});

showKeys();
