// The pages in a real browser: somebody new ships a first update to a real (virtual) device, then every page is looked
// at with a fleet on it, and the book, in light, in dark, and on a telephone.
//
// usage: node story.mjs BIN WORK [book]    programs are in BIN; everything is made in WORK, screenshots in WORK/shots;
//                                          with `book` that alone is looked at

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Browser, DESKTOP, PHONE } from './browser.mjs';
import { Device, Server } from './fleet.mjs';

const [bin, work] = process.argv.slice(2, 4).map((path) => resolve(path));
const bookOnly = process.argv[4] === 'book';
const shots = join(work, 'shots');
mkdirSync(shots, { recursive: true });
const started = [];
const begun = Date.now();
const step = (text) => console.log(`${((Date.now() - begun) / 1000).toFixed(1).padStart(6)} s  ${text}`);
const run = (program, ...args) => execFileSync(join(bin, program), args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

async function startServer() {
  const child = spawn(join(bin, 'tandem-server'), ['--log-level', 'warn', 'serve', '--data', join(work, 'data'), '--listen', '127.0.0.1:0'],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  started.push(child);
  const said = {};
  for await (const line of createInterface(child.stdout)) {
    const [word, value] = line.trim().split(/\s+/);
    if (word === 'e-mail' && value) said.email = value;
    if (word === 'password' && value) said.password = value;
    if (line.startsWith('listening on ')) { said.url = line.slice('listening on '.length); break; }
  }
  return said;
}

function makeRelease(number) {
  const tree = join(work, `release-${number}`);
  for (const dir of ['boot', 'etc', 'sbin']) mkdirSync(join(tree, dir), { recursive: true });
  writeFileSync(join(tree, 'etc/release'), `release-${number}\n`);
  writeFileSync(join(tree, 'boot/vmlinuz'), 'kernel\n');
  writeFileSync(join(tree, 'sbin/init'), '#!/bin/sh\n');
  chmodSync(join(tree, 'sbin/init'), 0o755);
  return tree;
}

function makeDevice(url) {
  const dir = join(work, 'lobby');
  const identity = join(work, 'identity');
  writeFileSync(identity, '#!/bin/sh\necho name=lobby\n');
  chmodSync(identity, 0o755);
  execFileSync('openssl', ['ecparam', '-genkey', '-name', 'prime256v1', '-noout', '-out', join(work, 'signer.pem')]);
  execFileSync('openssl', ['ec', '-in', join(work, 'signer.pem'), '-pubout', '-out', join(work, 'signer.pub')], { stdio: 'ignore' });
  run('tandem-artifact', '-q', 'write', 'bootstrap-artifact', '-t', 'demo-board', '-n', 'release-1', '-o', join(work, 'bootstrap.mender'));
  const settings = [`artifact_verify_key = '${work}/signer.pub'`, `server_url = '${url}'`,
    `server_certificate = '${work}/data/tls/ca.crt'`, `identity_script = '${identity}'`,
    'update_poll_interval_seconds = 1', 'retry_poll_interval_seconds = 1', 'inventory_poll_interval_seconds = 1'];
  run('virtual-device', 'create', dir, '--tree', makeRelease(1), '--device-type', 'demo-board', '--part-size', '16',
    '--bootstrap', join(work, 'bootstrap.mender'), ...settings.flatMap((line) => ['--set', line]));
  const tree = makeRelease(2);
  run('virtual-device', 'image', join(work, 'release-2.ext4'), '--tree', tree, '--size', '16');
  run('tandem-artifact', '-q', 'write', 'rootfs-image', '-t', 'demo-board', '-n', 'release-2', '-f', join(work, 'release-2.ext4'),
    '-k', join(work, 'signer.pem'), '-o', join(work, 'release-2.mender'));
  return dir;
}

async function firstUpdate(browser, said) {
  const page = await browser.open();
  await page.goto('/');
  assert.match(page.url(), /\/sign-in/);
  await browser.accessible(page, 'sign-in');
  await browser.shoot(page, 'sign-in-light');
  // With the keyboard alone.
  await page.keyboard.type(said.email);
  await page.keyboard.press('Tab');
  await page.keyboard.type('wrong');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').waitFor();
  await page.keyboard.type(said.password);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'To your first update' }).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  await browser.accessible(page, 'overview, empty');
  await browser.shoot(page, 'overview-empty-light');
  step('signed in');

  await page.getByRole('link', { name: 'Show all commands' }).click();
  await page.getByText('Waiting for a device to knock').waitFor();
  await page.locator('#device pre.copy').first().getByRole('button', { name: 'Copy' }).click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.ok(copied.includes(`server_url = "${said.url}"`) && copied.includes('BEGIN CERTIFICATE'), copied);
  await browser.accessible(page, 'start');
  await browser.shoot(page, 'start-light');

  const dir = makeDevice(said.url);
  started.push(spawn(join(bin, 'virtual-device'), ['run', dir], { env: { ...process.env, DEMO_DEVICE: dir }, stdio: 'ignore' }));
  step('a device is switched on');
  // The page notices by itself.
  await page.getByRole('link', { name: 'Look at pending devices' }).click();
  await page.getByRole('link', { name: 'lobby' }).waitFor();
  await browser.shoot(page, 'pending-one-light');
  const key = execFileSync('find', [dir, '-name', 'device-key.pem']).toString().trim();
  const der = execFileSync('openssl', ['pkey', '-in', key, '-pubout', '-outform', 'DER']);
  const print = execFileSync('sha256sum', { input: der }).toString().slice(0, 64);
  assert.equal((await page.locator('.print').innerText()).replace(/\s/g, ''), print);
  await page.getByRole('checkbox', { name: 'Choose lobby' }).check();
  await page.getByText('With the 1 chosen device').waitFor();
  await page.getByRole('button', { name: 'Accept' }).click();
  await page.getByText('1 device accepted.').waitFor();
  step('the device is accepted');

  await page.getByRole('link', { name: 'Releases', exact: true }).click();
  // A wrong file gets a sentence that helps.
  await page.locator('[data-upload]').evaluate((form) => {
    const files = new DataTransfer();
    files.items.add(new File(['no artifact'], 'holiday.jpg'));
    form.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true }));
  });
  await page.getByRole('alert').filter({ hasText: 'it is a text file' }).waitFor();
  await browser.accessible(page, 'releases, empty');
  await browser.shoot(page, 'releases-refused-light');
  await page.getByLabel('Description').fill('Faster start');
  await page.getByLabel('into frames').check();
  await page.getByLabel('File').setInputFiles(join(work, 'release-2.mender'));
  await page.getByRole('button', { name: 'Upload' }).click();
  await page.getByText('The release is uploaded and checked.').waitFor();
  await page.getByText('1 device gets it').waitFor();
  await browser.shoot(page, 'release-light');
  step('the release is uploaded');

  await page.getByRole('link', { name: 'Deploy', exact: true }).click();
  await page.getByText('1 device gets it').waitFor();
  await page.getByLabel('also to devices that run this release already').check();
  await page.getByText('1 device gets it').waitFor();
  await page.getByRole('button', { name: 'Deploy', exact: true }).click();
  await page.getByText('The deployment is made.').waitFor();
  step('the deployment is made');
  await page.getByRole('link', { name: 'lobby' }).click();
  // The device downloads, installs, reboots and commits while the page is open, and the page says so.
  await page.locator('#history').getByText('Updated').first().waitFor({ timeout: 60000 });
  await page.locator('#facts').getByText('release-2').waitFor({ timeout: 20000 });
  await browser.shoot(page, 'device-updated-light');
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.locator('#releases').getByText('release-2').waitFor();
  step('the device is updated');
  const state = await page.context().storageState();
  await page.context().close();
  return state;
}

// A fleet in which something goes on.
async function fill(said) {
  const server = new Server(said.url, readFileSync(join(work, 'data/tls/ca.crt')));
  await server.login(said.email, said.password);
  const write = (name, type) => {
    const file = join(work, `${name}-${type}.mender`);
    writeFileSync(join(work, 'payload'), `${name} for ${type}`);
    run('tandem-artifact', '-q', 'write', 'module-image', '-T', 'single-file', '-t', type, '-n', name, '-f', join(work, 'payload'), '-o', file);
    return readFileSync(file);
  };
  await server.upload(write('firmware-1.8', 'gateway'), 'Longer battery life');
  await server.upload(write('firmware-1.9', 'gateway'), 'TLS 1.3 for the uplink, new watchdog');
  await server.upload(write('firmware-1.9', 'kiosk'), '');
  const devices = [];
  for (let n = 0; n < 64; n += 1) {
    const mac = `de:ad:be:ef:00:${(n + 16).toString(16)}`;
    const kind = n % 5 === 4 ? 'kiosk' : 'gateway';
    devices.push(new Device({ mac, sn: `TX-${10400 + n * 7}` }, {
      device_type: n === 63 ? 'camera' : kind, artifact_name: n % 3 === 0 ? 'firmware-1.7' : 'firmware-1.8',
      kernel: '6.1.0-26-armhf', hostname: `${kind}-${n}`, ipv4_eth0: `10.20.0.${n + 10}/24`, mem_total_kB: 510348,
      uptime_days: n * 3 + 1, rootfs_type: 'ext4', bootloader: 'U-Boot 2023.01', tandem_client_version: '0.1.0',
    }));
  }
  await Promise.all(devices.map((device) => device.knock(server)));
  await server.acceptAll();
  await Promise.all(devices.map(async (device) => { await device.knock(server); await device.introduce(server); }));
  const all = JSON.parse((await server.must(200, 'GET', '/api/management/v2/devauth/devices?status=accepted&per_page=500')).text);
  const id = (device) => all.find((one) => one.identity_data.mac === device.identity.mac).id;
  await server.must(200, 'PATCH', '/api/management/v1/inventory/groups/berlin/devices', { body: devices.slice(0, 30).map(id) });
  await server.must(200, 'PATCH', '/api/management/v1/inventory/groups/canary/devices', { body: devices.slice(30, 36).map(id) });
  // One that is done, one that is under way.
  const first = await server.deploy('Canary 1.9', 'firmware-1.9', { group: 'canary' });
  for (const device of devices.slice(30, 36)) {
    await device.ask(server);
    await device.report(server, first, 'installing');
    device.inventory.artifact_name = 'firmware-1.9';
    await device.report(server, first, 'success');
    await device.introduce(server);
  }
  const second = await server.deploy('Spring roll-out', 'firmware-1.9', { group: 'berlin' });
  for (const [n, device] of devices.slice(0, 30).entries()) {
    if (n > 23) continue;
    await device.ask(server);
    await device.report(server, second, 'downloading');
    if (n > 20) continue;
    await device.report(server, second, 'installing', n === 18 ? 'writing 41 of 96 MiB' : undefined);
    if (n > 17) continue;
    await device.report(server, second, 'rebooting');
    if (n > 15) continue;
    if ([3, 7, 11].includes(n)) {
      const error = n === 7 ? 'state script ArtifactCommit_Enter_10_self-test exited with 1: sensor 3 does not answer'
        : `cannot write /dev/mmcblk0p3 at offset ${4096000 + n}: no space left on device`;
      await device.log(server, second, [['info', 'deployment begins: firmware-1.9'], ['debug', 'asking /dev/mmcblk0p3 for its size'],
        ['warning', 'the environment has one bad copy, it is repaired'], ['error', error], ['info', 'rolling back to firmware-1.8']]);
      await device.report(server, second, 'failure');
      continue;
    }
    device.inventory.artifact_name = 'firmware-1.9';
    await device.report(server, second, 'success');
    await device.introduce(server);
  }
  const waiting = [];
  for (let n = 0; n < 4; n += 1) waiting.push(new Device({ mac: `02:42:ac:11:00:0${n}`, sn: `TX-${20100 + n}` }, {}));
  await Promise.all(waiting.map((device) => device.knock(server)));
  return { updating: id(devices[18]), failed: id(devices[3]), running: second, done: first };
}

async function lookAtAll(browser, state, fleet) {
  const release = async (page) => {
    await page.goto('/releases?q=1.9');
    return page.locator('.release a.strong').first().getAttribute('href');
  };
  const probe = await browser.open({ state });
  const pages = {
    overview: '/', start: '/start', devices: '/devices', pending: '/devices?status=pending',
    'no-device': '/devices?q=nothing-is-like-this', device: `/devices/${fleet.failed}`, updating: `/devices/${fleet.updating}`,
    log: `/devices/${fleet.failed}/logs/${fleet.running}`, releases: '/releases', release: await release(probe),
    deployments: '/deployments', 'new-deployment': '/deployments/new?release=firmware-1.9',
    deployment: `/deployments/${fleet.running}`, failed: `/deployments/${fleet.running}?show=failed`,
    people: '/people', audit: '/audit', webhooks: '/webhooks', import: '/devices/import', settings: '/settings',
    missing: '/nothing',
  };
  await probe.context().close();
  const looks = [['light', DESKTOP, 'light'], ['dark', DESKTOP, 'dark'], ['phone', PHONE, 'light'], ['phone-dark', PHONE, 'dark']];
  await Promise.all(looks.map(async ([look, viewport, scheme]) => {
    const page = await browser.open({ viewport, scheme, state });
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(path);
      await browser.fits(page, `${name}, ${look}`);
      if (look !== 'phone-dark') await browser.shoot(page, `${name}-${look}`);
      await browser.accessible(page, `${name}, ${look}`);
    }
    await page.context().close();
  }));
  step('every page is looked at');
}

// Every chapter of the book, as somebody reads it who is not signed in; those with pictures are kept.
async function lookAtTheBook(browser) {
  const pictured = ['index', 'first-update', 'how-it-works', 'integrate-uboot', 'state-scripts', 'operate', 'reference-commands'];
  const looks = [['light', DESKTOP, 'light'], ['dark', DESKTOP, 'dark'], ['phone', PHONE, 'light'], ['phone-dark', PHONE, 'dark']];
  await Promise.all(looks.map(async ([look, viewport, scheme]) => {
    const page = await browser.open({ viewport, scheme });
    await page.goto('/docs');
    const chapters = await page.locator('nav.contents a[href^="/docs"]').evaluateAll((links) => links.map((link) => link.getAttribute('href')));
    assert.ok(chapters.length > 15, `only ${chapters.length} chapters`);
    for (const chapter of [...chapters, '/docs?q=bootcount']) {
      const name = chapter.split('/')[2] ?? (chapter.includes('?') ? 'search' : 'index');
      await page.goto(chapter);
      await browser.fits(page, `book, ${name}, ${look}`);
      const broken = await page.locator('main img').evaluateAll((images) => images.filter((image) => image.naturalWidth === 0).map((image) => image.src));
      if (broken.length > 0) browser.faults.push(`${chapter} has pictures that do not show: ${broken}`);
      if (pictured.includes(name) || name === 'search') await browser.shoot(page, `book-${name}-${look}`);
      await browser.accessible(page, `book, ${name}, ${look}`);
    }
    await page.context().close();
  }));
  step('the book is looked at');
}

async function useThem(browser, state, fleet) {
  // Filters, sorting and the small things that scripts do.
  const page = await browser.open({ state });
  await page.goto('/devices');
  await page.locator('select[name=group]').selectOption('canary');
  await page.waitForURL(/group=canary/);
  assert.equal(await page.locator('tbody tr').count(), 6);
  await page.getByRole('link', { name: 'Device', exact: true }).click();
  await page.waitForURL(/sort=name/);
  const names = await page.locator('tbody a.strong').allInnerTexts();
  assert.deepEqual(names, [...names].sort());
  await page.getByRole('checkbox', { name: 'Choose all on this page' }).check();
  await page.getByText('With the 6 chosen devices').waitFor();
  await page.getByRole('button', { name: 'Deploy to them' }).click();
  await page.getByText('6 chosen devices').waitFor();
  await page.locator('select[name=release]').selectOption('firmware-1.8');
  await page.getByText('5 devices get it, 1 will not').waitFor();
  await page.getByLabel('all accepted devices').check();
  await page.locator('#preview').getByText('will not').first().waitFor();
  // The failures of a deployment, by reason; and one more attempt for them.
  await page.goto(`/deployments/${fleet.running}`);
  await page.locator('td.said', { hasText: 'cannot write /dev/mmcblk0p3 at offset …' }).first().waitFor();
  await page.getByRole('link', { name: 'A log' }).first().click();
  await page.getByText('rolling back to firmware-1.8').waitFor();
  await page.goto(`/deployments/${fleet.running}`);
  await page.getByText('Abort …').click();
  await page.getByRole('button', { name: 'Abort the deployment' }).click();
  await page.getByText('The deployment is aborted.').waitFor();
  await page.getByRole('button', { name: 'Retry the failed 3' }).click();
  await page.getByRole('heading', { name: 'Spring roll-out (again)' }).waitFor();
  // Without scripts everything but the live parts is there.
  const plain = await browser.open({ state, scripts: false });
  await plain.goto('/devices?status=pending');
  await plain.getByRole('checkbox').first().check();
  await plain.getByRole('button', { name: 'Accept' }).click();
  await plain.getByText('1 device accepted.').waitFor();
  await plain.goto('/releases');
  await plain.getByLabel('File').setInputFiles(join(work, 'bootstrap.mender'));
  await plain.getByRole('button', { name: 'Upload' }).click();
  await plain.getByText('The release is uploaded and checked.').waitFor();
  await plain.goto('/deployments/new');
  await plain.locator('select[name=release]').selectOption('firmware-1.8');
  await plain.getByRole('button', { name: 'Show for this choice' }).click();
  await plain.waitForURL(/release=firmware-1.8/);
  await plain.getByText('will not').first().waitFor();
  await plain.getByRole('button', { name: 'Sign out' }).click();
  await plain.waitForURL(/sign-in/);
  step('everything works without scripts, too');
  // That was the session of both windows: the other one is led to signing in.
  await page.goto('/devices');
  await page.waitForURL(/sign-in/);
}

let browser;
try {
  const said = await startServer();
  browser = await Browser.start(said.url, shots);
  await lookAtTheBook(browser);
  if (!bookOnly) {
    const state = await firstUpdate(browser, said);
    const fleet = await fill(said);
    step('a fleet is there');
    await lookAtAll(browser, state, fleet);
    await useThem(browser, state, fleet);
  }
  assert.deepEqual(browser.faults, []);
  step(`no fault on ${browser.looked} screenshots in ${shots}`);
} finally {
  await browser?.close();
  for (const child of started) child.kill();
}
