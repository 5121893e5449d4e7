// Pages read and forms work without script; this one keeps them live, lets ages
// tick, and opens form pages as dialogs. keys.js, the other one, is about keys.
'use strict';

// ---- time: the server's clock, not this machine's
let skew = Date.parse(document.documentElement.dataset.now) - Date.now();
const now = () => Date.now() + skew;
const two = (n) => String(n).padStart(2, '0');
const clock = (ms) => new Date(ms).toISOString().slice(11, 19);

function age(ms) { // as ageText in words.go
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} m`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

function tick() {
  for (const t of document.querySelectorAll('time[data-age]')) {
    const text = age(now() - Date.parse(t.dateTime));
    if (t.textContent !== text) t.textContent = text;
  }
  for (const button of document.querySelectorAll('[data-armed]')) arm(button);
  watch();
}

// A destructive button wakes when the name has been typed, and its time has come.
function arm(button) {
  button.dataset.off ??= button.disabled; // by the server, for good
  button.dataset.label ??= button.textContent;
  const name = button.form.querySelector('[data-confirm]');
  const wait = button.dataset.from ? Math.ceil((Date.parse(button.dataset.from) - now()) / 1000) : 0;
  const label = button.dataset.label + (wait > 0 ? ` in ${wait} s` : '');
  if (button.textContent !== label) button.textContent = label;
  button.disabled = button.dataset.off === 'true' || wait > 0 || name.value !== name.dataset.confirm;
}

// ---- fragments: change the page into what the server rendered, leaving alone
// what is the same, so that focus, selection and scroll stay.
const key = (node) => node.nodeType === 1 ? node.id || node.dataset.key : undefined;

function morph(from, to) {
  for (const { name, value } of [...to.attributes]) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  for (const { name } of [...from.attributes]) {
    if (name === 'open') continue; // whoever looks has folded it open
    if (!to.hasAttribute(name)) from.removeAttribute(name);
  }
  const wanted = new Set([...to.children].map(key));
  const keyed = new Map();
  for (const child of [...from.children]) {
    if (!key(child)) continue;
    if (wanted.has(key(child))) keyed.set(key(child), child); else child.remove();
  }
  let at = from.firstChild;
  for (const want of [...to.childNodes]) {
    const have = key(want) ? keyed.get(key(want)) : at && !key(at) ? at : null;
    if (!have || have.nodeName !== want.nodeName) { from.insertBefore(want, at); continue; }
    if (have === at) at = at.nextSibling; else from.insertBefore(have, at);
    if (have.nodeType === 1) morph(have, want);
    else if (have.data !== want.data) have.data = want.data;
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

function swap({ id, html }) {
  const old = document.getElementById(id);
  const fresh = new DOMParser().parseFromString(html, 'text/html').body.firstElementChild;
  if (!old || !fresh) return;
  const focused = document.activeElement;
  morph(old, document.adoptNode(fresh));
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

// ---- the stream
const live = document.getElementById('live');
let source = null;
let heard = Date.now(); // when something came last, by this machine's clock

function connect() {
  const url = document.body.dataset.stream;
  if (!url || source || document.hidden) return;
  source = new EventSource(url);
  source.addEventListener('at', (e) => { skew = Date.parse(e.data) - Date.now(); alive(); });
  source.addEventListener('fragment', (e) => { swap(JSON.parse(e.data)); alive(); tick(); offerZone(); });
  source.onerror = () => { lost(); if (source.readyState === EventSource.CLOSED) again(3000); };
}

function alive() {
  heard = Date.now();
  if (live.dataset.state !== 'live') { // said once, not at each beat
    live.dataset.state = 'live';
    live.textContent = 'Live';
    live.hidden = false;
  }
  document.getElementById('lost').hidden = true;
  const as = document.getElementById('as-of');
  as.dateTime = new Date(now()).toISOString();
  as.textContent = clock(now());
}

function lost() {
  live.dataset.state = 'reconnecting';
  const since = document.createElement('span'); // on a phone the foot says it
  since.className = 'x2';
  since.textContent = `, numbers are from ${clock(heard + skew)}`;
  const said = document.createElement('span'); // as one, for it breaks into lines where there is little room
  said.append('Reconnecting', since);
  live.replaceChildren(said);
  live.hidden = false;
}

function again(ms) {
  source.close();
  source = null;
  setTimeout(connect, ms);
  stillIn();
}

// A session that has ended is answered by the login page: go there.
function stillIn() {
  fetch(location.href, { method: 'HEAD' }).then((r) => { if (r.redirected) location.reload(); }).catch(() => {});
}

// Whoever logs out in one tab has in all: the login page tells the others.
const tabs = new BroadcastChannel('lockkeeper');
tabs.onmessage = stillIn;
if (!document.body.dataset.stream) tabs.postMessage('login');

// A connection may be gone without a word: the server speaks every 10 s.
function watch() {
  if (!source || !live) return;
  const silent = Date.now() - heard;
  if (silent > 30000) document.getElementById('lost').hidden = false;
  if (silent > 25000 && source.readyState === EventSource.OPEN) { lost(); again(0); }
}

// A hidden tab needs no stream, and browsers allow few connections to a host.
document.addEventListener('visibilitychange', () => {
  if (document.hidden && source) { source.close(); source = null; } else { heard = Date.now(); connect(); }
});

// ---- drawings open at now; a calendar is on offer in the viewer's zone
for (const strip of document.querySelectorAll('[data-opens-at=now]')) strip.parentElement.scrollLeft = strip.scrollWidth;
const running = document.querySelector('.wave[data-s=now]'); // of many, it is the one to look at
if (running) running.closest('.scroll').scrollLeft = running.offsetLeft - 48;

function offerZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const zones = document.querySelector('[data-zones]');
  if (!zone || !zones || [...zones.children].some((a) => a.textContent === zone)) return;
  const mine = document.createElement('a');
  mine.href = zones.dataset.zones + encodeURIComponent(zone) + '#calendar';
  mine.textContent = zone;
  mine.title = 'Your time zone';
  zones.append(mine);
}
offerZone();

// ---- dialogs: a form's page, opened in place
const dialog = document.getElementById('dialog');
let asked = 0; // how often: only the last answer counts

async function show(url, request) {
  const turn = ++asked;
  try {
    const answer = await fetch(url, request);
    const text = await answer.text();
    if (turn !== asked) return; // another form was opened meanwhile: it stays
    const form = new DOMParser().parseFromString(text, 'text/html').querySelector('[data-form]');
    if (!form && answer.ok) { dialog.close(); return; } // done: the stream shows what came of it
    if (!form) throw new Error(`${answer.status}`);
    dialog.replaceChildren(document.adoptNode(form));
    if (!dialog.open) dialog.showModal();
    const first = (css) => dialog.querySelector(css); // else the focus goes with the form that was there
    (first('[aria-invalid]') ?? first('[data-confirm], input:not([type=hidden])') ?? first('a[href], button'))?.focus();
    tick();
  } catch (e) {
    if (turn !== asked) return;
    if (!request) { location.assign(url); return; }
    const said = dialog.querySelector('h1 + .err') ?? document.createElement('p');
    said.className = 'err';
    said.textContent = `No answer that counts (${e.message}): it may not be done. Look, then try again.`;
    dialog.querySelector('h1')?.after(said);
  }
}

document.addEventListener('click', (e) => {
  const opens = e.target.closest('a[data-dialog]');
  if (opens && e.button === 0 && !e.ctrlKey && !e.metaKey && !e.shiftKey) { e.preventDefault(); show(opens.href); }
  if (e.target.closest('dialog [data-cancel]')) { e.preventDefault(); dialog.close(); }
});
document.addEventListener('submit', (e) => {
  if (!e.target.closest('dialog')) return;
  e.preventDefault();
  show(e.target.action, { method: 'POST', body: new URLSearchParams(new FormData(e.target, e.submitter)) });
});
document.addEventListener('input', (e) => { if (e.target.dataset.confirm) tick(); });

setInterval(tick, 1000);
tick();
// The page is painted first; what the stream begins with is mostly the same.
requestAnimationFrame(() => setTimeout(connect));
