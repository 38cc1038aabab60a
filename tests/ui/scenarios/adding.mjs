// Adding accounts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, button, control, main, scenario, source, type, until, violations, whole, world } from '../browser.mjs';

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
