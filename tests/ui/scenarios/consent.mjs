// Accounts that are entered by OAuth: a real provider (npm's oidc-provider), a Dovecot that asks it about every token, and
// a person in the same browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, button, control, job, main, scenario, sideways, source, until, violations, whole, world } from '../browser.mjs';

/** The person at the provider's own pages: logs in and says yes. */
async function agree(there) {
  for (let step = 0; step < 6; ++step) {
    await there.locator('button[type=submit]').or(there.getByText(/Sign-in Success|Continue on your device|You can close this window/)).first().waitFor();
    if (await there.locator('input[name=login]').count()) {
      await there.locator('input[name=login]').fill('alice');
      await there.locator('input[name=password]').fill('x');
    } else if (!(await there.locator('button[type=submit]').count())) return;
    await Promise.all([there.waitForEvent('domcontentloaded'), there.locator('button[type=submit]').first().click()]);
  }
}

const opened = async (page) => (await Promise.all([page.waitForEvent('popup'), main(page).getByRole('link', { name: /^Open 127/ }).click()]))[0];

/** The form of a new account at the server that takes tokens only, as far as the card of the provider. */
async function begin(page, more = {}) {
  const server = await control('oauth_server');
  await page.at('/add');
  await page.getByLabel('E-mail address').fill(source('alice', server.imaps));
  await page.keyboard.press('Enter');
  await page.getByText('For experts').click();
  await page.getByLabel('Certificate to trust (PEM)').fill(server.ca);
  await page.locator('.allow > summary').click();
  await page.getByLabel('Address of the provider (issuer)').fill(more.issuer ?? server.issuer);
  await page.getByLabel('Client id').fill(more.client ?? 'collector');
  await page.getByLabel('Scope').fill('openid offline_access mail');
  return server;
}

test('OAuth by a code on any device: what to open, what to enter, and then the plan', scenario({}, async (page) => {
  await begin(page);
  await button(page, 'By a code, on any device').click();
  const code = await page.locator('.user-code').innerText();
  assert.match(code, /^[A-Z]{4}-?[A-Z]{4}$/);
  assert.deepEqual(await violations(page), []);
  const there = await opened(page);
  await agree(there);
  await there.close();
  await page.getByRole('heading', { name: 'Ready to haul' }).waitFor();
  assert.equal(await page.getByLabel('Password of this mailbox').count(), 0);
  await page.getByLabel('Folder below the mail root').fill('by-device');
  await button(page, 'Start collecting').click();
  await until('the mail', async () => (await control('files', { path: 'by-device' })).count === 3);
}));

test('OAuth in this browser, which comes back; the window that waited goes on', scenario({ colorScheme: 'dark' }, async (page) => {
  await begin(page);
  await button(page, 'Allow at the provider').click();
  const there = await opened(page);
  await agree(there);
  await there.getByText('You can close this window').waitFor();
  assert.deepEqual(await violations(there), []);
  assert.ok(!/code=/.test(there.url()), there.url());
  await there.close();
  await page.getByRole('heading', { name: 'Ready to haul' }).waitFor();
}));

whole('OAuth refused by the person: both windows say so, and it can be begun again', scenario({ viewport: { width: 360, height: 740 } }, async (page) => {
  await begin(page);
  await button(page, 'Allow at the provider').click();
  const there = await opened(page);
  await there.getByRole('link', { name: /cancel/i }).click();
  await there.getByText(/denied/).waitFor();
  assert.deepEqual(await violations(there), []);
  await there.close();
  await page.getByText('The access was not allowed').waitFor();
  assert.deepEqual(await violations(page), []);
  assert.equal(await sideways(page), 0);
  await button(page, 'By a code, on any device').click();
  await page.locator('.user-code').waitFor();
  assert.equal(await page.getByText('The access was not allowed').count(), 0);
}));

whole('a code that nobody enters in time is told as such', scenario({}, async (page) => {
  await begin(page, await control('hasty_provider'));
  await button(page, 'By a code, on any device').click();
  await page.getByText('Nobody allowed the access in time').first().waitFor();
  assert.deepEqual(await violations(page), []);
}));

whole('a client that the provider does not know, and none at all: said with the remedy', scenario({}, async (page) => {
  await begin(page, { client: 'stranger' });
  await button(page, 'By a code, on any device').click();
  assert.match(await page.locator('.consent [role=alert]').innerText(), /client/);
  await page.getByLabel('Client id').fill('');
  await button(page, 'By a code, on any device').click();
  await page.getByText(/no client id/).waitFor();
}));

whole('an answer that nobody asked for is refused', scenario({}, async (page) => {
  await page.goto(`${world.url}?code=x&state=forged`);
  await page.getByText('Nothing in this browser has asked for this').waitFor();
  assert.deepEqual(await violations(page), []);
}));

test('an access that was withdrawn: the account asks for it again, and mail comes', scenario({}, async (page) => {
  const server = await control('oauth_server');
  const made = await job('alice', { port: server.imaps, password: undefined, account: { ca: server.ca } });
  assert.equal(made.state, 'attention', made.error);
  await page.at(`/jobs/${made.id}`);
  await page.getByText('Or allow the access at the provider (OAuth)').click();
  await page.getByLabel('Address of the provider (issuer)').fill(server.issuer);
  await page.getByLabel('Client id').fill('collector');
  await page.getByLabel('Scope').fill('openid offline_access mail');
  const allow = async () => {
    await button(page, 'By a code, on any device').click();
    const there = await opened(page);
    await agree(there);
    await there.close();
    await page.locator('.now .state.idle').waitFor();
  };
  await allow();
  await control('forget_consents');
  await ask('POST', `/jobs/${made.id}/run`, {});
  await page.getByRole('heading', { name: 'Allow the access again' }).waitFor();
  assert.deepEqual(await violations(page), []);
  await allow();
}));
