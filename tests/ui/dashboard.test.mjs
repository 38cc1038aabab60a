// The dashboard as people use it, against the real service and a real mail server. dashboard.py starts both.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { ask, calm, close, control, job, keepSession, open, scenario, screens, settled, sideways, source, until, violations, world } from './browser.mjs';

before(open);
after(close);

// The usual run is a sample; the whole of it (MAILHAUL_WHOLE) has its label.
const whole = process.env.MAILHAUL_WHOLE ? test : test.skip;

const main = (page) => page.locator('main');
const button = (page, name) => page.getByRole('button', { name, exact: true });
const clickable = (page, name) => main(page).getByRole('button', { name, exact: true });

// ---- the first start

whole('setup: a wrong token is refused with what to do, and what was typed stays', scenario({ out: true }, async (page) => {
  await page.goto(world.url);
  await page.getByLabel('Setup token').fill('not the token');
  await page.getByLabel('User name').fill(world.name);
  await page.getByLabel('Password', { exact: true }).fill(world.secret);
  await button(page, 'Create the owner').click();
  await page.getByRole('alert').waitFor();
  assert.match(await page.getByRole('alert').innerText(), /token/i);
  assert.equal(await page.getByLabel('User name').inputValue(), world.name);
  assert.deepEqual(await violations(page), []);
}));

test('setup: owner, where mail goes, then the first account; on a phone without sideways scrolling', scenario({ out: true, viewport: { width: 360, height: 740 } }, async (page) => {
  await page.goto(world.url);
  await page.getByLabel('Setup token').fill(world.token);
  await page.getByLabel('User name').fill(world.name);
  await page.getByLabel('Password', { exact: true }).fill(world.secret);
  assert.equal(await sideways(page), 0);
  await button(page, 'Create the owner').click();
  await page.getByRole('heading', { name: 'Where should mail go?' }).waitFor();
  assert.match(await main(page).innerText(), new RegExp(world.mail));
  assert.equal(await sideways(page), 0);
  assert.deepEqual(await violations(page), []);
  await button(page, 'Add the first account').click();
  await page.getByRole('heading', { name: 'Add an account' }).waitFor();
  await keepSession(page);
}));

test('the empty overview invites', scenario({}, async (page) => {
  await page.at('/');
  await page.getByRole('heading', { name: 'Bring your mail home' }).waitFor();
  await main(page).getByRole('link', { name: 'Add an account' }).click();
  await page.getByLabel('E-mail address').waitFor();
}));

test('log in: a wrong password is told, the right one goes on', scenario({ out: true }, async (page) => {
  await page.goto(world.url);
  await page.getByLabel('User name').fill(world.name);
  await page.getByLabel('Password', { exact: true }).fill('something else entirely');
  await page.keyboard.press('Enter');
  assert.match(await page.getByRole('alert').innerText(), /Name or password is wrong/);
  assert.deepEqual(await violations(page), []);
  await page.getByLabel('Password', { exact: true }).fill(world.secret);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
}));

test('the page comes with a strict policy, compressed, and asks nobody else', scenario({ out: true }, async (page) => {
  const loaded = [];
  page.on('response', (response) => loaded.push(response));
  const first = await page.goto(world.url);
  await page.getByLabel('User name').waitFor();
  const policy = first.headers()['content-security-policy'];
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "require-trusted-types-for 'script'", "frame-ancestors 'none'"]) assert.ok(policy.includes(part), part);
  const files = loaded.filter((response) => /\/(assets\/|$)/.test(new URL(response.url()).pathname));
  const octets = await Promise.all(files.map(async (response) => (await response.request().sizes()).responseBodySize));
  assert.ok(octets.reduce((sum, one) => sum + one) <= 40 * 1024, `first load ${octets}`);
  assert.ok(files.filter((response) => response.url().includes('/assets/')).every((response) => /immutable/.test(response.headers()['cache-control'])));
}));

// ---- adding accounts

async function type(page, address, password) {
  await page.getByLabel('E-mail address').fill(address);
  await page.keyboard.press('Enter');
  await page.getByLabel('Password of this mailbox').fill(password);
}

test('from an address to the first message: at most 5 clicks and 60 s', scenario({}, async (page, t) => {
  await page.at('/');
  await page.evaluate(() => { window.clicks = 0; addEventListener('click', (event) => { window.clicks += event.detail > 0 ? 1 : 0; }, true); });
  const begun = Date.now();
  await main(page).getByRole('link', { name: 'Add an account' }).click();
  await page.getByLabel('E-mail address').fill(source('demo'));
  await button(page, 'Continue').click();
  await page.getByLabel('Password of this mailbox').fill(world.password);
  await button(page, 'Connect').click();
  await button(page, 'Start collecting').click();
  await page.getByRole('heading', { name: 'demo' }).waitFor();
  await until('the first message on the page', async () => Number((await page.locator('.figures > div:nth-child(2) dd').innerText()).replace(/\D/g, '')) > 0, 60000);
  const seconds = (Date.now() - begun) / 1000;
  const clicks = await page.evaluate(() => window.clicks);
  t.diagnostic(`${clicks} clicks, ${seconds.toFixed(1)} s`);
  assert.ok(clicks <= 5 && seconds <= 60);
  assert.ok((await control('files', { path: 'demo' })).count > 0);
}));

test('a wrong password at the server: the step that failed, what to do, and another try', scenario({}, async (page) => {
  await page.at('/add');
  await type(page, source('small'), 'wrong');
  await button(page, 'Connect').click();
  const failed = page.locator('form > .steps .bad');
  await failed.waitFor();
  assert.match(await failed.innerText(), /Log in/);
  assert.ok((await failed.locator('.advice').innerText()).length > 10);
  assert.equal(await page.locator('form > .steps .good').count(), 3);
  assert.deepEqual(await violations(page), []);
  await page.getByLabel('Password of this mailbox').fill(world.password);
  await button(page, 'Connect').click();
  await page.getByRole('heading', { name: 'Ready to haul' }).waitFor();
}));

whole('a server that does not answer is told as such', scenario({}, async (page) => {
  await page.at('/add');
  await type(page, 'imaps://somebody@localhost:9', 'x');
  await button(page, 'Connect').click();
  assert.match(await page.locator('form > .steps .bad').innerText(), /Connect/);
  assert.match(await page.locator('form > .steps .bad').innerText(), /refused/i);
}));

whole('a certificate of another name is refused', scenario({}, async (page) => {
  await page.at('/add');
  await type(page, `imaps://small@127.0.0.2:${world.imaps}`, world.password);
  await button(page, 'Connect').click();
  await page.locator('form > .steps .bad').waitFor();
  assert.equal(await page.getByRole('heading', { name: 'Ready to haul' }).count(), 0);
}));

test('the plan is shown before anything is collected, and a mailbox left out stays out', scenario({}, async (page) => {
  await page.at('/add');
  await type(page, source('small'), world.password);
  await button(page, 'Connect').click();
  await page.getByRole('heading', { name: 'Ready to haul' }).waitFor();
  await page.getByRole('checkbox', { name: 'Sent' }).uncheck();
  await page.getByLabel('Folder below the mail root').fill('planned');
  await button(page, 'Show what would happen').click();
  await page.locator('.plan table').waitFor();
  assert.match(await page.locator('.plan').innerText(), /8 messages would come/);
  assert.equal((await control('files', { path: 'planned' })).count, 0);
  assert.deepEqual(await violations(page), []);
  await button(page, 'Start collecting').click();
  await until('the mail', async () => (await control('files', { path: 'planned' })).count === 8);
}));

whole('an address nobody knows leads to the form by hand', scenario({}, async (page) => {
  await page.at('/add');
  await page.getByLabel('E-mail address').fill('somebody@nowhere.invalid');
  await button(page, 'Continue').click();
  await page.getByText('No settings are known for this address').or(page.getByRole('alert')).first().waitFor();
  const server = page.getByLabel('Server', { exact: true });
  if (await server.count()) assert.equal(await server.inputValue(), '');
}));

test('CSV: every line has its own result', scenario({}, async (page) => {
  await page.at('/import');
  await page.getByLabel('Or paste it here').fill(`source,password,destination,name\n${source('small')},${world.password},csv/one,From CSV\nnot a source,x,csv/two,Wrong\n`);
  await button(page, 'Import').click();
  await page.locator('tbody tr').nth(1).waitFor();
  assert.match(await page.locator('tbody tr').nth(0).innerText(), /done|added|small/);
  assert.match(await page.locator('tbody tr').nth(1).innerText(), /failed/);
  assert.match(await main(page).innerText(), /1 account added/);
  assert.deepEqual(await violations(page), []);
  assert.ok((await ask('GET', '/jobs?search=From%20CSV')).items.length === 1);
}));

whole('CSV: a dry run only logs in', scenario({}, async (page) => {
  const number = (await ask('GET', '/jobs')).items.length;
  await page.at('/import');
  await page.getByLabel('Or paste it here').fill(`source,password\n${source('small')},${world.password}\n${source('small')},wrong\n`);
  await button(page, 'Only check the logins').click();
  await page.locator('tbody tr').nth(1).waitFor();
  assert.match(await main(page).innerText(), /1 line is good/);
  assert.match(await page.locator('tbody tr').nth(1).innerText(), /failed/);
  assert.equal((await ask('GET', '/jobs')).items.length, number);
}));

// ---- one account

test('the mailbox table says what the API says, and its sums are right', scenario({}, async (page) => {
  const made = await job('demo');
  await page.at(`/jobs/${made.id}`);
  await page.locator('tbody tr').first().waitFor();
  const { items } = await ask('GET', `/jobs/${made.id}/mailboxes`);
  const cells = await page.locator('tbody tr').evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll('.number')].slice(0, 6).map((cell) => Number(cell.innerText.replace(/\D/g, '')))));
  assert.deepEqual(cells, items.map(({ counts: c }) => [c.listed, c.delivered, c.pending, c.failed, c.excluded, c.gone]));
  for (const [listed, ...rest] of cells) assert.equal(listed, rest.reduce((sum, one) => sum + one));
}));

whole('progress moves while mail arrives: messages, rate, what is left', scenario({}, async (page) => {
  const made = await job('far', { port: world.far, settle: false });
  await page.at(`/jobs/${made.id}`);
  const bar = page.locator('.now [role=progressbar]');
  await bar.waitFor();
  const seen = new Set();
  await until('three steps', async () => {
    seen.add(await bar.getAttribute('aria-valuetext').catch(() => null));
    return seen.size > 3;
  });
  await until('a rate', async () => /B\/s/.test(await page.locator('.now').innerText()));
  await button(page, 'Stop').click();
  assert.ok(!['running'].includes((await settled(made.id)).state));
}));

test('pause and resume', scenario({}, async (page) => {
  const made = await job('small');
  await page.at(`/jobs/${made.id}`);
  await button(page, 'Pause').click();
  await page.locator('.now .state.paused').waitFor();
  assert.equal((await ask('GET', `/jobs/${made.id}`)).paused, true);
  await button(page, 'Resume').click();
  await page.locator('.now .state:not(.paused)').waitFor();
  assert.equal((await ask('GET', `/jobs/${made.id}`)).paused, false);
}));

whole('new mail appears after Run now, without a reload', scenario({}, async (page) => {
  const made = await job('small');
  await page.at(`/jobs/${made.id}`);
  const here = page.locator('.figures > div:nth-child(2) dd');
  const before = Number(await here.innerText());
  await control('deliver', { user: 'small', count: 2 });
  await button(page, 'Run now').click();
  await until('two more', async () => Number(await here.innerText()) === before + 2);
}));

whole('the log is live, filters, and can be downloaded', scenario({}, async (page) => {
  const made = await job('small');
  await page.at(`/jobs/${made.id}/log`);
  await control('deliver', { user: 'small', count: 1 });
  await ask('POST', `/jobs/${made.id}/run`, {});
  await page.locator('.log li').first().waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), button(page, 'Download').click()]);
  assert.ok(fs.readFileSync(await download.path(), 'utf8').length > 10);
  await button(page, 'Error').click();
  assert.equal(await page.locator('.log li.info').count(), 0);
}));

test('verify: both kinds, with the report as a file', scenario({}, async (page) => {
  const made = await job('small');
  await page.at(`/jobs/${made.id}/verify`);
  await button(page, 'Verify now').click();
  await page.getByText('both sides are the same').waitFor();
  await page.getByLabel('Thorough').check();
  await button(page, 'Verify now').click();
  await page.getByText('Every message was read on both sides').waitFor();
  const [json] = await Promise.all([page.waitForEvent('download'), button(page, 'JSON').click()]);
  assert.equal(JSON.parse(fs.readFileSync(await json.path(), 'utf8')).same, true);
  const [csv] = await Promise.all([page.waitForEvent('download'), button(page, 'CSV').click()]);
  assert.match(fs.readFileSync(await csv.path(), 'utf8'), /^mailbox,source,ledger/);
}));

whole('the history has a plot and a table', scenario({}, async (page) => {
  const made = await job('small');
  for (let round = 0; round < 2; ++round) {
    await control('deliver', { user: 'small', count: 1 });
    await ask('POST', `/jobs/${made.id}/run`, {});
    await until('a run', async () => (await ask('GET', `/runs?job=${made.id}`)).items.length > round + 1);
    await settled(made.id);
  }
  await page.at(`/jobs/${made.id}/runs`);
  await page.locator('.history canvas').waitFor();
  assert.ok(await page.locator('tbody tr').count() >= 3);
}));

test('rules are saved; a change by somebody else does not cost what was typed', scenario({}, async (page) => {
  const made = await job('small');
  await page.at(`/jobs/${made.id}/settings`);
  await page.getByLabel('Leave out').fill('Junk\nTrash');
  await ask('PATCH', `/jobs/${made.id}`, { schedule: { kind: 'every', minutes: 30 } });
  await main(page).getByRole('button', { name: 'Save' }).first().click();
  await page.getByText('Somebody else changed this meanwhile').waitFor();
  assert.equal(await page.getByLabel('Leave out').inputValue(), 'Junk\nTrash');
  await main(page).getByRole('button', { name: 'Save' }).first().click();
  await until('the rules', async () => JSON.stringify((await ask('GET', `/jobs/${made.id}`)).policy.exclude) === '["Junk","Trash"]');
}));

test('a login that the server refuses: what to do, a new password, and mail comes', scenario({}, async (page) => {
  const made = await job('small', { password: 'wrong' });
  assert.equal(made.state, 'attention');
  await page.at(`/jobs/${made.id}`);
  await page.locator('.now .notice.bad').waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByLabel('New password for this mailbox').fill('wrong again');
  await button(page, 'Save and try').click();
  await page.locator('.relogin .notice.bad').waitFor();
  await page.getByLabel('New password for this mailbox').fill(world.password);
  await button(page, 'Save and try').click();
  await page.locator('.now .state.idle').waitFor();
  assert.ok((await settled(made.id)).counts.delivered > 0);
}));

whole('held removals: their numbers, and a release that wants its name typed', scenario({}, async (page) => {
  const made = await job('kept', { policy: { on_source_delete: 'remove', grace_days: 0 } });
  await control('erase', { user: 'kept' });
  for (let round = 0; round < 3 && !(await ask('GET', `/jobs/${made.id}`)).held; ++round) {
    await ask('POST', `/jobs/${made.id}/run`, {});
    await until('a run', async () => (await ask('GET', `/jobs/${made.id}`)).state !== 'queued');
    await settled(made.id);
  }
  await page.at(`/jobs/${made.id}`);
  await clickable(page, 'Release').click();
  assert.deepEqual(await violations(page), []);
  const dialog = page.getByRole('dialog');
  assert.ok(await dialog.getByRole('button', { name: 'Release' }).isDisabled());
  await dialog.getByRole('textbox').fill('INBOX');
  await dialog.getByRole('button', { name: 'Release' }).click();
  await dialog.waitFor({ state: 'detached' });
}));

whole('an account ends behind its typed name; its mail stays', scenario({}, async (page) => {
  const made = await job('small', { name: 'goes away', path: 'goes-away' });
  const files = (await control('files', { path: 'goes-away' })).count;
  await page.at(`/jobs/${made.id}/settings`);
  await button(page, 'End it').click();
  await page.getByRole('dialog').getByRole('textbox').fill('goes away');
  await page.getByRole('dialog').getByRole('button', { name: 'End it' }).click();
  await page.waitForURL(/#\/$/);
  assert.equal((await ask('GET', '/jobs?search=goes%20away')).items.length, 0);
  assert.equal((await control('files', { path: 'goes-away' })).count, files);
}));

// ---- the overview

whole('search, filter and sort', scenario({}, async (page) => {
  await job('small', { name: 'Zebra' });
  await page.at('/');
  await page.getByPlaceholder('Search accounts').fill('zebr');
  await until('one row', async () => (await page.locator('[data-row]').count()) === 1);
  await page.getByPlaceholder('Search accounts').fill('');
  await page.getByLabel('Sort by').selectOption('name');
  const names = await page.locator('[data-row]').allInnerTexts();
  assert.deepEqual(names, [...names].sort(new Intl.Collator(undefined, { numeric: true }).compare));
  await page.getByPlaceholder('Search accounts').fill('nothing is called so');
  await button(page, 'Show all').click();
  await until('all rows', async () => (await page.locator('[data-row]').count()) === names.length);
}));

whole('many at once: pause and resume', scenario({}, async (page) => {
  await page.at('/');
  await page.getByPlaceholder('Search accounts').fill('small');
  await page.getByLabel('Select all').check();
  const region = page.locator('.bulk');
  await region.getByRole('button', { name: 'Pause' }).click();
  await until('all paused', async () => (await ask('GET', '/jobs?search=small&limit=500')).items.filter((one) => one.account_name.includes('small')).every((one) => one.paused));
  assert.deepEqual(await violations(page), []);
  await region.getByRole('button', { name: 'Resume' }).click();
  await until('none paused', async () => (await ask('GET', '/jobs?limit=500')).items.every((one) => !one.paused));
}));

test('the keyboard: / j k x p ? a', scenario({}, async (page) => {
  await page.at('/');
  await page.locator('[data-row]').first().waitFor();
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.type), 'search');
  await page.keyboard.type('zebra');
  await page.keyboard.press('Escape');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  assert.ok(await page.evaluate(() => document.activeElement === document.querySelector('[data-row]')));
  const id = await page.evaluate(() => Number(document.activeElement.closest('[data-job]').dataset.job));
  const paused = (await ask('GET', `/jobs/${id}`)).paused;
  await page.keyboard.press('p');
  await page.locator(`[data-job="${id}"] .state${paused ? ':not(.paused)' : '.paused'}`).waitFor();
  assert.equal((await ask('GET', `/jobs/${id}`)).paused, !paused);
  await until('the row where its state belongs', () => page.evaluate((one) => [...document.querySelectorAll('[data-job]')].at(-1).dataset.job === String(one), id));
  assert.equal(await page.evaluate(() => Number(document.activeElement.closest('[data-job]')?.dataset.job)), id);
  await page.keyboard.press('p');
  await until('resume', async () => (await ask('GET', `/jobs/${id}`)).paused === paused);
  await page.keyboard.press('x');
  assert.ok(await page.locator('.bulk').isVisible());
  await page.keyboard.press('?');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.keyboard.press('a');
  await page.getByLabel('E-mail address').waitFor();
}));

test('by keyboard alone: log in, add an account, open it', scenario({ out: true }, async (page) => {
  await page.goto(world.url);
  await page.getByLabel('User name').waitFor();
  const at = (want) => until(want, async () => {
    if (await page.evaluate((text) => document.activeElement !== document.body && (document.activeElement.labels?.[0]?.innerText ?? document.activeElement.innerText ?? '').includes(text), want)) return true;
    await page.keyboard.press('Tab');
    return false;
  });
  await at('User name');
  await page.keyboard.type(world.name);
  await at('Password');
  await page.keyboard.type(world.secret);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
  await page.locator('main h1').waitFor();
  await at('Add an account');
  await page.keyboard.press('Enter');
  await page.getByLabel('E-mail address').waitFor();
  await at('E-mail address');
  await page.keyboard.type(source('small'));
  await page.keyboard.press('Enter');
  await until('the password has the focus', () => page.evaluate(() => document.activeElement.name === 'password'));
  await page.keyboard.type(world.password);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Ready to haul' }).waitFor();
  await at('Start collecting');
  await page.keyboard.press('Enter');
  await page.locator('.now').waitFor();
  await page.waitForURL(/#\/jobs\/\d+$/);
}));

test('what strangers wrote is text everywhere', scenario({}, async (page) => {
  const name = '<script>alert(1)</script>\u202egnp<img src=x onerror=alert(2)>';
  const made = await job('hostile', { name });
  for (const where of ['/', `/jobs/${made.id}`, `/jobs/${made.id}/messages`, `/jobs/${made.id}/runs`, `/jobs/${made.id}/verify`, '/system/places', '/system/audit']) {
    await calm(page, where);
    assert.equal(await page.evaluate(() => document.querySelectorAll('main img, main script').length), 0, where);
    assert.equal(await sideways(page), 0, where);
  }
  await page.at(`/jobs/${made.id}`);
  await page.locator('tbody tr').first().waitFor();
  const shown = await page.locator('tbody th').allInnerTexts();
  for (const text of world.hostile) assert.ok(shown.some((one) => one.includes(text.replace('\u202e', '\ufffd'))), text);
  assert.ok(!shown.join('').includes('\u202e'));
}));

whole('2,000 accounts: the first rows within 1.5 s, and no long pauses afterwards', scenario({}, async (page, t) => {
  const lines = ['source,password,destination,name,paused'];
  for (let number = 1; number <= 2000; ++number) lines.push(`imaps://crowd${number}@localhost:${world.imaps},x,crowd/${number},crowd ${number},true`);
  assert.equal((await ask('POST', '/accounts/import', lines.join('\n'), 'text/csv')).added, 2000);
  await page.addInitScript(() => {
    window.long = [];
    new PerformanceObserver((list) => window.long.push(...list.getEntries().map((one) => Math.round(one.duration)))).observe({ type: 'longtask', buffered: true });
  });
  const begun = Date.now();
  await page.goto(world.url);
  await page.locator('[data-row]').nth(20).waitFor();
  const first = Date.now() - begun;
  await until('every row', async () => (await page.locator('[data-row]').count()) > 2000);
  const all = Date.now() - begun;
  await page.evaluate(() => { window.long = []; });
  await page.getByPlaceholder('Search accounts').fill('crowd 19');
  await until('fewer rows', async () => (await page.locator('[data-row]').count()) < 200);
  t.diagnostic(`first rows ${first} ms, all ${all} ms, long tasks while filtering ${await page.evaluate(() => window.long)}`);
  assert.ok(first <= 1500, `first rows after ${first} ms`);
  for (let cursor; ;) {
    const list = await ask('GET', `/accounts?search=crowd&limit=500${cursor ? `&cursor=${cursor}` : ''}`);
    for (let at = 0; at < list.items.length; at += 20) await Promise.all(list.items.slice(at, at + 20).map((one) => ask('DELETE', `/accounts/${one.id}`)));
    cursor = list.next;
    if (!cursor) break;
  }
}));

// ---- system

whole('users: an owner adds a viewer, who sees and cannot touch', scenario({}, async (page) => {
  await page.at('/system/users');
  const form = page.locator('form', { has: page.getByRole('heading', { name: 'Add a user' }) });
  await form.getByLabel('User name').fill('vera');
  await form.getByLabel('Password', { exact: true }).fill('five words are long enough');
  await form.getByLabel('Role', { exact: true }).selectOption('viewer');
  await form.getByRole('button', { name: 'Add a user' }).click();
  await page.getByLabel('Remove vera').waitFor();
  const context = await page.context().browser().newContext({ locale: 'en-GB' });
  const other = await context.newPage();
  await other.goto(world.url);
  await other.getByLabel('User name').fill('vera');
  await other.getByLabel('Password', { exact: true }).fill('five words are long enough');
  await other.keyboard.press('Enter');
  await other.locator('main h1').waitFor();
  assert.equal(await other.getByRole('button', { name: 'Add an account' }).count() + await other.getByRole('link', { name: 'Add an account' }).count(), 0);
  await context.close();
  await page.getByLabel('Remove vera').click();
  await page.getByRole('dialog').getByRole('textbox').fill('vera');
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('button', { name: 'Remove vera' }).waitFor({ state: 'detached' });
}));

whole('tokens: made, shown once, good for what they say, revoked', scenario({}, async (page) => {
  await page.at('/system/tokens');
  await page.getByLabel('Name', { exact: true }).fill('script');
  await button(page, 'Make a token').click();
  const secret = await page.locator('.secret-text').innerText();
  const use = () => fetch(`${world.url}api/v1/jobs`, { headers: { Authorization: `Bearer ${secret}` } });
  assert.equal((await use()).status, 200);
  assert.deepEqual(await violations(page), []);
  await page.getByLabel('Revoke script').click();
  await until('revoked', async () => (await use()).status === 401);
}));

whole('the audit says who did what', scenario({}, async (page) => {
  await page.at('/system/audit');
  await page.locator('tbody tr').nth(3).waitFor();
  assert.match(await page.locator('tbody').innerText(), new RegExp(world.name));
}));

whole('health and destinations', scenario({}, async (page) => {
  await page.at('/system');
  await page.getByText(world.mail).waitFor();
  await page.at('/system/places');
  await page.locator('.cards li').nth(3).waitFor();
}));

test('the API describes itself and can be tried', scenario({}, async (page) => {
  await page.at('/api');
  const one = page.locator('.operation', { hasText: 'Version, disk, queue' });
  await one.locator('summary').click();
  await one.getByRole('button', { name: 'Send' }).click();
  await one.locator('.answer').waitFor();
  assert.match(await one.locator('.answer').innerText(), /"mail_root"/);
}));

// ---- languages, themes, sizes

for (const [locale, title, several] of [['en-GB', 'Accounts', /messages/], ['it-IT', 'Account', /messaggi/], ['ru-RU', 'Ящики', /пис(ем|ьма|ьмо)/], ['cs-CZ', 'Účty', /zpráv/], ['de-AT', 'Konten', /Nachrichten/]])
  (locale === 'ru-RU' ? test : whole)(`the language of the browser: ${locale}`, scenario({ locale }, async (page) => {
    await page.at('/');
    await page.locator('[data-row]').first().waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), locale.slice(0, 2));
    assert.equal(await page.locator('.bar nav a').first().innerText(), title);
    assert.match(await main(page).innerText(), several);
    const id = await page.evaluate(() => document.querySelector('[data-job]').dataset.job);
    for (const where of screens(id)) {
      await calm(page, where);
      assert.ok(!/\{\w+\}|undefined|NaN|\[object/.test(await page.evaluate(() => (location.hash === '#/api' ? '' : document.body.innerText))), where);
    }
  }));

whole('another language and theme can be chosen, and are remembered', scenario({}, async (page) => {
  await page.at('/');
  await page.locator('.menu summary').click();
  await page.getByLabel('Language').selectOption('de');
  await page.getByLabel('Farben').selectOption('dark');
  await page.reload();
  await page.locator('main h1').waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'de');
  const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.ok(Math.max(...dark.match(/\d+/g).map(Number)) < 60, dark);
}));

for (const colorScheme of ['light', 'dark'])
  (colorScheme === 'dark' ? test : whole)(`axe finds nothing on any screen, ${colorScheme}`, scenario({ colorScheme }, async (page) => {
    const [{ id }] = (await ask('GET', '/jobs?search=demo')).items;
    for (const where of screens(id)) {
      await calm(page, where);
      assert.deepEqual(await violations(page), [], where);
    }
  }));

test('a phone of 360 px: nothing scrolls sideways, axe finds nothing', scenario({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, locale: 'de-DE' }, async (page) => {
  const [{ id }] = (await ask('GET', '/jobs?search=demo')).items;
  for (const where of screens(id)) {
    await calm(page, where);
    assert.equal(await sideways(page), 0, where);
    assert.deepEqual(await violations(page), [], where);
  }
}));

whole('with reduced motion nothing slides', scenario({ reducedMotion: 'reduce' }, async (page) => {
  await page.at('/');
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('.button')).transitionDuration), '0s');
}));

// ---- what goes wrong around the page

test('a service that restarts: the page says so, goes on by itself, and keeps what was typed', scenario({}, async (page) => {
  const made = await job('small');
  await page.at(`/jobs/${made.id}/settings`);
  await page.getByLabel('Leave out').fill('typed before');
  await control('stop');
  await page.getByText('Mailhaul cannot be reached').waitFor();
  await control('start');
  await page.getByText('Mailhaul cannot be reached').waitFor({ state: 'detached' });
  assert.equal(await page.getByLabel('Leave out').inputValue(), 'typed before');
  await main(page).getByRole('button', { name: 'Save' }).first().click();
  await until('the rules', async () => (await ask('GET', `/jobs/${made.id}`)).policy.exclude?.[0] === 'typed before');
}));

whole('a saving while the service is away fails kindly and can be said again', scenario({}, async (page) => {
  const made = await job('small');
  await page.at(`/jobs/${made.id}/settings`);
  await page.getByLabel('Leave out').fill('again');
  await page.context().setOffline(true);
  await main(page).getByRole('button', { name: 'Save' }).first().click();
  await main(page).getByText('What you typed is still here').waitFor();
  await page.context().setOffline(false);
  await main(page).getByRole('button', { name: 'Save' }).first().click();
  await until('the rules', async () => (await ask('GET', `/jobs/${made.id}`)).policy.exclude?.[0] === 'again');
}));

test('a session that ends: log in over the page, and the form goes on where it was', scenario({}, async (page) => {
  await page.at('/add');
  await type(page, source('small'), world.password);
  await page.context().clearCookies();
  await button(page, 'Connect').click();
  const dialog = page.getByRole('dialog', { name: 'Your session has ended' });
  await dialog.waitFor();
  assert.deepEqual(await violations(page), []);
  await dialog.getByLabel('Password', { exact: true }).fill(world.secret);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Ready to haul' }).waitFor();
  assert.equal(await page.getByLabel('Password of this mailbox').inputValue(), world.password);
}));

whole('a half-typed account is still there after a look elsewhere', scenario({}, async (page) => {
  await page.at('/add');
  await page.getByLabel('E-mail address').fill('half@typed');
  await page.evaluate(() => { location.hash = '#/system'; });
  await page.getByRole('heading', { name: 'System' }).waitFor();
  await page.evaluate(() => { location.hash = '#/add'; });
  assert.equal(await page.getByLabel('E-mail address').inputValue(), 'half@typed');
}));

whole('a job that is not there is told, with a way back', scenario({}, async (page) => {
  await page.at('/jobs/999999');
  await page.getByRole('heading', { name: 'There is nothing here' }).waitFor();
  assert.deepEqual(await violations(page), []);
}));

whole('log out', scenario({ out: true }, async (page) => {
  await page.goto(world.url);
  await page.getByLabel('User name').fill(world.name);
  await page.getByLabel('Password', { exact: true }).fill(world.secret);
  await page.keyboard.press('Enter');
  await page.locator('.menu summary').click();
  await button(page, 'Log out').click();
  await page.getByRole('heading', { name: 'Welcome back' }).waitFor();
}));
