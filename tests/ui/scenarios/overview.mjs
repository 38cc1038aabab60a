// The overview.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, button, calm, job, scenario, sideways, source, until, violations, whole, world } from '../browser.mjs';

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
