// What the scenarios share: the browser, pages that report every violation, the API beside the page, the world outside.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

const modules = createRequire(path.join(process.env.MAILHAUL_UI_MODULES, 'x'));
const { chromium } = modules('playwright-core');
const axe = fs.readFileSync(modules.resolve('axe-core/axe.min.js'), 'utf8');

export const world = JSON.parse(process.env.MAILHAUL_UI_WORLD);
export const source = (user, port = world.imaps) => `imaps://${user}@localhost:${port}`;

/** A scenario that the usual run leaves out; the whole of it (MAILHAUL_WHOLE) has its label. */
export const whole = process.env.MAILHAUL_WHOLE ? test : test.skip;

let browser;
export const open = async () => (browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] }));
export const close = () => browser.close();

let state;
/** A page of its own, in the session of the owner unless `out`. What the console complains of fails the scenario at its end. */
export async function page({ out, viewport = { width: 1280, height: 860 }, ...more } = {}) {
  const context = await browser.newContext({ viewport, locale: 'en-GB', acceptDownloads: true, ...(out ? {} : { storageState: state }), ...more });
  const one = await context.newPage();
  one.setDefaultTimeout(15000);
  one.trouble = [];
  one.on('pageerror', (error) => one.trouble.push(String(error)));
  one.on('console', (message) => {
    // A network error is what some scenarios cause; the browser writes it by itself.
    if (['error', 'warning'].includes(message.type()) && !/Failed to load resource|net::ERR_/.test(message.text())) one.trouble.push(message.text());
  });
  one.on('request', (request) => {
    if (!request.url().startsWith(world.url) && !/^(data|blob):/.test(request.url())) one.trouble.push(`asked ${request.url()}`);
  });
  one.on('dialog', (dialog) => {
    one.trouble.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  one.at = async (where) => {
    await one.goto(`${world.url}#${where}`);
    await one.waitForSelector('main h1');
  };
  one.end = async () => {
    await context.close();
    assert.deepEqual(one.trouble, []);
  };
  return one;
}

export const keepSession = async (one) => { state = await one.context().storageState(); };

/** A scenario: its page is closed and asked for complaints whatever happens. */
export const scenario = (options, steps) => async (t) => {
  const one = await page(options);
  try {
    await steps(one, t);
  } catch (error) {
    const folder = process.env.MAILHAUL_UI_FAILURES;
    if (folder) {
      fs.mkdirSync(folder, { recursive: true });
      await one.screenshot({ path: path.join(folder, `${t.name.replace(/\W+/g, '-').slice(0, 80)}.png`), fullPage: true }).catch(() => {});
    }
    await one.context().close();
    throw error;
  }
  await one.end();
};

export async function control(action, body = {}) {
  const answer = await (await fetch(world.control + action, { method: 'POST', body: JSON.stringify(body) })).json();
  assert.equal(answer.error, undefined);
  return answer;
}

let api;
/** The API as a script uses it: with a session of its own. */
export async function ask(method, where, body, kind = 'application/json') {
  const send = (headers = {}) => fetch(`${world.url}api/v1${where}`, {
    method, headers: { 'Content-Type': kind, ...headers }, body: body === undefined ? undefined : kind === 'application/json' ? JSON.stringify(body) : body });
  if (!api) {
    const made = await fetch(`${world.url}api/v1/session`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name: world.name, password: world.secret }) });
    assert.equal(made.status, 201, await made.clone().text());
    api = { Cookie: made.headers.get('set-cookie').split(';')[0], 'X-CSRF-Token': (await made.json()).csrf };
  }
  const answer = await send(api);
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${where}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

export async function until(what, condition, patience = 30000) {
  for (const end = Date.now() + patience; ;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what} did not come about`);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}

let number = 0;
/** An account with its job, made over the API. */
export async function job(user, { password = world.password, port, name, settle = true, path: where, account: more, ...rest } = {}) {
  const account = await ask('POST', '/accounts', { source: source(user, port), password, name: name ?? `${user} ${++number}`, ...more });
  const destination = await ask('POST', '/destinations', { path: where ?? `${user}-${account.id}` });
  const made = await ask('POST', '/jobs', { account: account.id, destination: destination.id, ...rest });
  return settle ? settled(made.id) : made;
}
export const settled = (id) => until(`job ${id} at rest`, async () => {
  const now = await ask('GET', `/jobs/${id}`);
  return !['queued', 'running'].includes(now.state) && now;
});

/** axe-core in a world of its own, where the page's policy does not hold it back. */
export async function violations(one) {
  const session = await one.context().newCDPSession(one);
  const run = async (expression) => (await session.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })).result.value;
  await run(axe);
  const found = await run(`axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then((all) =>
    JSON.stringify(all.violations.map((one) => one.id + ': ' + one.nodes.map((node) => node.html.slice(0, 120)).slice(0, 3).join(' | '))))`);
  await session.detach();
  return JSON.parse(found);
}

export const sideways = (one) => one.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** Every screen, with an account `id` on it. */
export const screens = (id) => ['/', '/add', '/import', `/jobs/${id}`, `/jobs/${id}/messages`, `/jobs/${id}/log`, `/jobs/${id}/runs`, `/jobs/${id}/verify`,
  `/jobs/${id}/settings`, '/system', '/system/users', '/system/tokens', '/system/places', '/system/channels', '/system/keep', '/system/audit', '/api'];

/** A screen with everything that it loads. */
export async function calm(one, where) {
  await one.at(where);
  await one.waitForFunction(() => !document.querySelector('main .loading'));
}

export const main = (one) => one.locator('main');
export const button = (one, name) => one.getByRole('button', { name, exact: true });
export const clickable = (one, name) => main(one).getByRole('button', { name, exact: true });

/** An address and its password, as far as the button that tries them. */
export async function type(one, address, password) {
  await one.getByLabel('E-mail address').fill(address);
  await one.keyboard.press('Enter');
  await one.getByLabel('Password of this mailbox').fill(password);
}
