// What pages do beyond forms and links. Every page works without this; nothing here talks to anybody but the server
// that sent the page.
'use strict';

// --- pages that change by themselves ------------------------------------------------------------

// Parts of a page say with data-live="TOPICS" what they depend on. When one of these topics changes, the page is
// fetched again and those parts are replaced, unless somebody is at work in them.
const live = {
  stale: new Set(),
  fetching: false,

  start() {
    if (!document.querySelector('[data-live]') || !window.EventSource) return;
    this.listen(`/events?since=${encodeURIComponent(document.body.dataset.since)}`);
    document.addEventListener('visibilitychange', () => this.refresh());
  },

  listen(address) {
    const source = new EventSource(address);
    source.addEventListener('change', (event) => {
      for (const topic of event.data.split(' ')) this.stale.add(topic);
      this.refresh();
    });
    source.addEventListener('error', () => {
      // A broken line mends itself. A refusal does not: too many pages listen, or nobody is signed in.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.listen('/events'), 30000);
    });
  },

  async refresh() {
    if (document.hidden || this.fetching || this.stale.size === 0) return;
    const topics = [...this.stale];
    this.stale.clear();
    this.fetching = true;
    try {
      const answer = await fetch(location.href.split('#')[0], { headers: { Accept: 'text/html' } });
      if (answer.redirected) { location.reload(); return; }
      if (answer.ok) this.replace(new DOMParser().parseFromString(await answer.text(), 'text/html'), topics);
    } catch {
      for (const topic of topics) this.stale.add(topic);
    }
    this.fetching = false;
    if (this.stale.size > 0) setTimeout(() => this.refresh(), 2000);
  },

  replace(fresh, topics) {
    for (const old of document.querySelectorAll('[data-live]')) {
      const about = old.dataset.live.split(' ');
      if (old.dataset.live !== '' && !about.some((topic) => topics.includes(topic))) continue;
      const successor = fresh.getElementById(old.id);
      if (!successor || successor.innerHTML === old.dataset.was) continue;
      old.dataset.was = successor.innerHTML;
      if (this.isBusy(old)) { for (const topic of about) this.stale.add(topic); continue; }
      const opened = [...old.querySelectorAll('details')].map((one) => one.open);
      old.replaceChildren(...document.importNode(successor, true).childNodes);
      old.querySelectorAll('details').forEach((one, n) => { if (n in opened) one.open = opened[n]; });
      dress(old);
    }
  },

  isBusy(part) {
    const active = document.activeElement;
    return (active !== document.body && part.contains(active) && active.matches('input, select, textarea, button'))
      || part.querySelector('input[type=checkbox]:checked, details.danger[open]') !== null;
  },
};

// --- lists of devices -----------------------------------------------------------------------------

function bulk(form) {
  const all = document.createElement('input');
  all.type = 'checkbox';
  all.setAttribute('aria-label', 'Choose all on this page');
  const boxes = () => [...form.querySelectorAll('tbody input[name=device]')];
  const legend = form.querySelector('legend');
  const said = legend.textContent;
  const count = () => {
    const chosen = boxes().filter((box) => box.checked).length;
    all.checked = chosen > 0 && chosen === boxes().length;
    all.indeterminate = chosen > 0 && !all.checked;
    legend.textContent = chosen > 0 ? `With the ${chosen} chosen device${chosen === 1 ? '' : 's'}` : said;
  };
  all.addEventListener('change', () => { for (const box of boxes()) box.checked = all.checked; count(); });
  form.addEventListener('change', count);
  const place = () => { form.querySelector('thead .check')?.replaceChildren(all); count(); };
  form.addEventListener('dressed', place);
  place();
}

// --- uploads --------------------------------------------------------------------------------------

function upload(form) {
  const file = form.querySelector('input[type=file]');
  const bar = form.querySelector('progress');
  const problem = form.querySelector('.problem');
  const button = form.querySelector('button');
  const fail = (text) => {
    problem.textContent = text;
    problem.hidden = false;
    bar.hidden = true;
    button.disabled = false;
  };
  for (const kind of ['dragenter', 'dragover']) {
    form.addEventListener(kind, (event) => { event.preventDefault(); form.classList.add('over'); });
  }
  for (const kind of ['dragleave', 'drop']) {
    form.addEventListener(kind, (event) => { event.preventDefault(); form.classList.remove('over'); });
  }
  form.addEventListener('drop', (event) => {
    if (button.disabled || event.dataTransfer.files.length === 0) return;
    file.files = event.dataTransfer.files;
    form.requestSubmit();
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    problem.hidden = true;
    bar.hidden = false;
    bar.value = 0;
    button.disabled = true;
    say('Uploading');
    const request = new XMLHttpRequest();
    request.open('POST', form.action);
    request.setRequestHeader('Accept', 'application/json');
    request.responseType = 'json';
    request.upload.addEventListener('progress', (sent) => { bar.value = 100 * sent.loaded / sent.total; });
    request.upload.addEventListener('load', () => {
      // What comes now takes as long as it takes.
      bar.removeAttribute('value');
      say(form.elements.framed?.checked ? 'Putting it into frames' : 'Checking');
    });
    request.addEventListener('load', () => {
      if (request.status === 201) location.assign(request.response.path);
      else if (request.status === 401) location.assign('/sign-in?next=%2Freleases');
      else fail(sentence(request.response?.error ?? `the server answered ${request.status}`));
    });
    request.addEventListener('error', () => fail('The connection broke. Try again.'));
    request.send(new FormData(form));
  });
}

// --- the form of a deployment -------------------------------------------------------------------------

function preview(form) {
  let asked = 0;
  form.addEventListener('change', async (event) => {
    if (event.target.name === 'group') form.querySelector('[name=to][value=group]').checked = true;
    const mine = ++asked;
    const query = new URLSearchParams(new FormData(form));
    const answer = await fetch(`${form.action}?${query}`, { headers: { Accept: 'text/html' } });
    if (!answer.ok || mine !== asked) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('preview');
    const old = document.getElementById('preview');
    old.replaceChildren(...document.importNode(fresh, true).childNodes);
    dress(old);
  });
}

// --- small things -----------------------------------------------------------------------------------

function say(text) { document.getElementById('said').textContent = text; }

function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}

function copyButton(block) {
  if (!navigator.clipboard || block.querySelector('button')) return;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy';
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(block.querySelector('code').textContent);
    button.textContent = 'Copied';
    say('Copied');
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
  block.append(button);
}

// What every part of a page gets, also one that has just come in.
function dress(part) {
  for (const block of part.querySelectorAll('pre.copy')) copyButton(block);
  for (const one of part.querySelectorAll('[data-js-only]')) one.hidden = false;
  for (const one of part.querySelectorAll('[data-no-js]')) one.hidden = true;
  for (const time of part.querySelectorAll('time')) {
    time.title = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
  }
  part.closest('form')?.dispatchEvent(new Event('dressed'));
}

// What has just been done is said once, not again when the page is opened again.
const here = new URL(location.href);
if (here.searchParams.has('done')) {
  for (const name of ['done', 'n', 'skipped']) here.searchParams.delete(name);
  history.replaceState(null, '', here);
}
dress(document.body);
for (const form of document.querySelectorAll('form[data-bulk]')) bulk(form);
for (const form of document.querySelectorAll('form[data-upload]')) upload(form);
for (const form of document.querySelectorAll('form[data-preview]')) preview(form);
for (const select of document.querySelectorAll('.filters select')) {
  select.addEventListener('change', () => select.form.requestSubmit());
}
live.start();
