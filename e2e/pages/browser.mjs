// A real Chromium, and what must hold of every page that is looked at in it.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

export const DESKTOP = { width: 1280, height: 860 };
export const PHONE = { width: 390, height: 844 };

export class Browser {
  static async start(url, shots) {
    const browser = new Browser();
    browser.chromium = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
    Object.assign(browser, { url, shots, faults: [], looked: 0 });
    return browser;
  }

  // A page in a window of its own, with a state (cookies) of its own or of another one.
  async open({ viewport = DESKTOP, scheme = 'light', scripts = true, state } = {}) {
    const context = await this.chromium.newContext({
      viewport, colorScheme: scheme, javaScriptEnabled: scripts, ignoreHTTPSErrors: true, baseURL: this.url,
      storageState: state, reducedMotion: 'reduce', permissions: scripts ? ['clipboard-read', 'clipboard-write'] : [],
    });
    const page = await context.newPage();
    page.setDefaultTimeout(20000);
    page.on('request', (request) => {
      const address = request.url();
      if (!address.startsWith(`${this.url}/`) && !address.startsWith('data:') && !address.startsWith('blob:')) {
        this.faults.push(`${page.url()} asks for ${address}`);
      }
    });
    page.on('pageerror', (error) => this.faults.push(`${page.url()}: ${error}`));
    page.on('console', (message) => {
      // What is refused on purpose is an answer like others.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) {
        this.faults.push(`${page.url()}: ${message.text()}`);
      }
    });
    return page;
  }

  // Nothing that keeps anybody out, as far as a program can tell.
  async accessible(page, name) {
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    for (const { id, impact, help, nodes } of found.violations) {
      if (['serious', 'critical'].includes(impact)) {
        this.faults.push(`${name}: ${id}: ${help}: ${nodes.slice(0, 3).map((node) => `${node.html} ${node.any.map((one) => one.message)}`).join(' | ')}`);
      }
    }
  }

  async shoot(page, name) {
    this.looked += 1;
    await page.screenshot({ path: join(this.shots, `${name}.png`), fullPage: true, animations: 'disabled' });
  }

  // Wider than the window means scrolling sideways on a telephone.
  async fits(page, name) {
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (over > 0) this.faults.push(`${name} is ${over} px too wide`);
  }

  async close() { await this.chromium.close(); }
}
