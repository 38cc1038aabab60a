// One account.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { ask, button, clickable, control, job, main, scenario, settled, until, violations, whole, world } from '../browser.mjs';

test('the mailbox table says what the API says, and its sums are right', scenario({}, async (page) => {
  const made = await job('demo');
  await page.at(`/jobs/${made.id}`);
  await page.locator('tbody tr').first().waitFor();
  const names = new Intl.Collator('en-GB', { numeric: true });
  const items = (await ask('GET', `/jobs/${made.id}/mailboxes`)).items.sort((a, b) => (b.name === 'INBOX') - (a.name === 'INBOX') || names.compare(a.name, b.name));
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

test('address books are switched on; that they are not there is told, and the mail is', scenario({}, async (page) => {
  const made = await job('small');
  await page.at(`/jobs/${made.id}/settings`);
  await page.getByRole('checkbox', { name: /Address books, too/ }).check();
  await page.getByLabel('Where they are, if they are not found').fill('https://localhost:1/');
  assert.deepEqual(await violations(page), []);
  await main(page).getByRole('button', { name: 'Save' }).first().click();
  await until('the policy', async () => (await ask('GET', `/jobs/${made.id}`)).policy.contacts === 'https://localhost:1/');
  await ask('POST', `/jobs/${made.id}/run`);
  await page.at(`/jobs/${made.id}`);
  await page.getByText(/^contacts: /).first().waitFor();
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
