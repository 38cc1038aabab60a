// System.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, button, control, scenario, source, type, until, violations, whole, world } from '../browser.mjs';

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
  assert.match(await (await fetch(`${world.url}licenses.txt`)).text(), /preact[^]*MIT License[^]*uplot/);
  await page.at('/system/places');
  await page.locator('.cards li').first().waitFor();
}));

test('an IMAP account as a place: tried first, then mail goes there', scenario({}, async (page) => {
  await control('box', { user: 'target' });
  await page.at('/system/places');
  await page.getByLabel('E-mail address, or imaps://user@server').fill(source('target'));
  await page.getByLabel('Password of this mailbox').fill('not it');
  await button(page, 'Use this account').click();
  assert.match(await page.getByRole('alert').innerText(), /refuses user name or password/);
  await page.getByLabel('Password of this mailbox').fill(world.password);
  await button(page, 'Use this account').click();
  const place = page.locator('.cards li', { hasText: 'target@localhost' });
  await place.waitFor();
  assert.match(await place.innerText(), /IMAP/);
  assert.deepEqual(await violations(page), []);
  await page.at('/add');
  await type(page, source('small'), world.password);
  await button(page, 'Connect').click();
  const places = page.getByRole('combobox', { name: 'Together with another' });
  await places.selectOption(await places.locator('option', { hasText: 'target' }).getAttribute('value'));
  await button(page, 'Start collecting').click();
  await until('the mail', async () => (await control('count', { user: 'target' })).count === (await control('count', { user: 'small' })).count);
}));

/** A channel to the receiver, made on the page. */
async function tellUs(page, url, kind, name) {
  await page.at('/system/channels');
  const form = page.locator('form', { has: page.getByRole('heading', { name: 'Add a notification' }) });
  await form.getByLabel('How').selectOption(kind);
  await form.getByLabel('Address', { exact: true }).fill(url);
  await form.getByLabel('Name', { exact: true }).fill(name);
  await form.getByText('For experts').click();
  await form.getByLabel('Allow without encryption').check();
  await form.getByRole('button', { name: 'Add a notification' }).click();
}

test('notifications: a webhook is made, its secret shown once, tested, told of a failure, and forgotten', scenario({}, async (page) => {
  const { url } = await control('receiver');
  await tellUs(page, `${url}/hook`, 'webhook', 'our hook');
  assert.match(await page.locator('.secret-text').innerText(), /^whsec_/);
  await page.getByLabel('Test our hook').waitFor();
  await page.evaluate(() => scrollTo(0, 0));  // nothing lies half under the bar
  assert.deepEqual(await violations(page), []);
  const line = page.locator('.cards li', { hasText: 'our hook' });
  await page.getByLabel('Test our hook').click();
  await line.getByText('It was taken').waitFor();
  assert.deepEqual((await control('receiver', { status: 500 })).taken, ['test']);
  await page.getByLabel('Test our hook').click();
  assert.match(await line.getByRole('alert').innerText(), /500/);
  assert.deepEqual(await violations(page), []);
  await page.getByLabel('Forget our hook').click();
  await line.waitFor({ state: 'detached' });
  assert.equal((await ask('GET', '/channels')).items.length, 0);
}));

whole('notifications: an ntfy topic; and an address without encryption is refused with the remedy', scenario({ viewport: { width: 360, height: 740 } }, async (page) => {
  const { url } = await control('receiver');
  await tellUs(page, `${url}/topic`, 'ntfy', 'my phone');
  await page.getByLabel('Test my phone').click();
  await page.locator('.cards li', { hasText: 'my phone' }).getByText('It was taken').waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
  const form = page.locator('form', { has: page.getByRole('heading', { name: 'Add a notification' }) });
  await form.getByLabel('Allow without encryption').uncheck();
  await form.getByLabel('Address', { exact: true }).fill(`${url}/other`);
  await form.getByRole('button', { name: 'Add a notification' }).click();
  assert.match(await form.getByRole('alert').innerText(), /https/);
  await page.getByLabel('Forget my phone').click();
}));

whole('notifications: an SMTP server that is not there is told as such', scenario({}, async (page) => {
  await page.at('/system/channels');
  await page.getByLabel('How').selectOption('mail');
  await page.getByLabel('SMTP server').fill('smtps://localhost:9');
  await page.getByLabel('From', { exact: true }).fill('mailhaul@example.org');
  await page.getByLabel('To', { exact: true }).fill('me@example.org');
  await button(page, 'Add a notification').click();
  await page.getByRole('button', { name: /^Test / }).click();
  assert.ok((await page.locator('.cards [role=alert]').innerText()).length > 10);
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: /^Forget / }).click();
}));

whole('backup and keys: where the key lies, and the commands', scenario({}, async (page) => {
  await page.at('/system/keep');
  await page.getByText('mailhaul key verify').waitFor();
  assert.match(await page.locator('.tab').innerText(), /The key to the stored passwords lies beside the data/);
}));

test('the API describes itself and can be tried', scenario({}, async (page) => {
  await page.at('/api');
  const one = page.locator('.operation', { hasText: 'Version, disk, queue' });
  await one.locator('summary').click();
  await one.getByRole('button', { name: 'Send' }).click();
  await one.locator('.answer').waitFor();
  assert.match(await one.locator('.answer').innerText(), /"mail_root"/);
}));
