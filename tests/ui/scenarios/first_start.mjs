// The first start.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { button, keepSession, main, scenario, sideways, violations, whole, world } from '../browser.mjs';

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
  await page.getByText(world.mail).first().waitFor();  // it is asked for when the screen is there already
  assert.match(await main(page).innerText(), new RegExp(world.mail));
  assert.equal(await sideways(page), 0);
  assert.deepEqual(await violations(page), []);
  await page.getByText('Another mail account').click();
  await page.getByLabel('E-mail address, or imaps://user@server').waitFor();
  assert.equal(await sideways(page), 0);
  assert.deepEqual(await violations(page), []);
  await page.getByText('A folder for each account').click();
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
