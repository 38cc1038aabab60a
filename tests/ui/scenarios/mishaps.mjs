// What goes wrong around the page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, button, control, job, main, scenario, source, type, until, violations, whole, world } from '../browser.mjs';

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

whole('a server that takes no more connections: the account says why it waits', scenario({}, async (page) => {
  const server = await control('busy');
  const made = await job('busy', { port: server.imaps, account: { ca: server.ca }, settle: false });
  await page.at(`/jobs/${made.id}`);
  await page.locator('.now .state.waiting').waitFor();
  await page.locator('.now', { hasText: /Maximum number of connections|mail_max_userip/ }).waitFor();
  assert.equal(await page.locator('.relogin').count(), 0);
  assert.deepEqual(await violations(page), []);
}));

whole('a server that is gone: said on the account, with the time of the next try', scenario({}, async (page) => {
  const { port } = await control('gone');
  const made = await job('busy', { port, settle: false });
  await page.at(`/jobs/${made.id}`);
  await page.locator('.now .state.waiting').waitFor();
  await page.locator('.now', { hasText: /connection refused/ }).waitFor();
  assert.equal(await page.locator('.relogin').count(), 0);
  assert.deepEqual(await violations(page), []);
}));

whole('a disk that is full: said on the account, and the mail comes when there is room', scenario({}, async (page, t) => {
  const { skip } = await control('small_disk');
  if (skip) return t.skip(skip);
  const made = await job('demo', { path: 'small-disk/demo' });
  await page.at(`/jobs/${made.id}`);
  assert.match(await page.locator('.now .notice').innerText(), /space|full/i);
  assert.deepEqual(await violations(page), []);
  await control('room');
  await button(page, 'Run now').click();
  await page.locator('.now .state.idle').waitFor();
  assert.equal((await control('files', { path: 'small-disk/demo' })).count, (await ask('GET', `/jobs/${made.id}`)).counts.delivered);
}));

whole('a certificate of an authority that nobody trusts, and the remedy: its certificate', scenario({}, async (page) => {
  const server = await control('oauth_server');
  await page.at('/add');
  await type(page, source('alice', server.imaps), world.password);
  await button(page, 'Connect').click();
  const failed = page.locator('form > .steps .bad');
  await failed.waitFor();
  assert.match(await failed.innerText(), /Encrypt/);
  assert.match(await failed.innerText(), /certificate/i);
  assert.ok((await failed.locator('.advice').innerText()).length > 10);
  await page.getByText('For experts').click();
  await page.getByLabel('Certificate to trust (PEM)').fill(server.ca);
  await button(page, 'Connect').click();
  await page.locator('form > .steps .bad', { hasText: 'Log in' }).waitFor();
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
