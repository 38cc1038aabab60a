// screenshots.mjs FOLDER: pictures of every screen: light, dark and on a phone. Started by dashboard.py --screenshots.
import fs from 'node:fs';
import path from 'node:path';
import { ask, calm, close, control, job, keepSession, open, page, settled, source, until, world } from './browser.mjs';

const folder = process.argv[2];
fs.mkdirSync(folder, { recursive: true });
const shot = (one, name) => one.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });

await open();
{
  const one = await page({ out: true });
  await one.goto(world.url);
  await one.getByLabel('Setup token').fill(world.token);
  await one.getByLabel('User name').fill(world.name);
  await one.getByLabel('Password', { exact: true }).fill(world.secret);
  await shot(one, 'light-setup');
  await one.keyboard.press('Enter');
  await one.getByRole('heading', { name: 'Where should mail go?' }).waitFor();
  await shot(one, 'light-setup-mail');
  await one.getByRole('button', { name: 'Add the first account' }).click();
  await one.getByLabel('E-mail address').waitFor();
  await keepSession(one);
  await one.at('/');
  await shot(one, 'light-empty');
  await one.end();
  const other = await page({ out: true });
  await other.goto(world.url);
  await other.getByLabel('User name').waitFor();
  await shot(other, 'light-login');
  await other.end();
}

for (const [user, messages] of [['anna@example.org', 1400], ['office@example.com', 500], ['giulia@example.it', 300], ['archive@example.org', 900], ['petr@example.cz', 2500]])
  await control('fill', { user, messages });
await control('fill', { user: 'olga@example.org', messages: 100 });
const first = await job('anna@example.org', { name: 'anna@example.org', path: 'anna' });
await job('office@example.com', { name: 'Office', path: 'office' });
const paused = await job('giulia@example.it', { name: 'giulia@example.it', path: 'giulia' });
await ask('PATCH', `/jobs/${paused.id}`, { paused: true });
await job('archive@example.org', { name: 'Archive 2009–2019', path: 'archive', schedule: { kind: 'once' } });
const wrong = await job('olga@example.org', { name: 'olga@example.org', path: 'olga', password: 'not any more' });
for (let round = 0; round < 6; ++round) {
  await control('deliver', { user: 'anna@example.org', count: 3 + ((round * 7) % 11) });
  await ask('POST', `/jobs/${first.id}/run`, {});
  await until('a run', async () => (await ask('GET', `/runs?job=${first.id}`)).items.length > round + 1);
  await settled(first.id);
}
await ask('POST', `/jobs/${first.id}/verify`, { deep: true });
await settled(first.id);
const moving = await job('petr@example.cz', { name: 'petr@example.cz', path: 'petr', port: world.far, settle: false });
await until('progress', async () => ((await ask('GET', `/jobs/${moving.id}`)).progress?.messages ?? 0) > 60);

const best = ['light-overview', 'dark-arriving', 'phone-arriving'];  // web/ui/screenshots
const kinds = { light: { colorScheme: 'light' }, dark: { colorScheme: 'dark' }, phone: { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true } };
for (const [kind, options] of Object.entries(kinds)) {
  const one = await page(options);
  const places = { overview: '/', arriving: `/jobs/${moving.id}`, login: `/jobs/${wrong.id}`, account: `/jobs/${first.id}`, messages: `/jobs/${first.id}/messages`,
    log: `/jobs/${moving.id}/log`, history: `/jobs/${first.id}/runs`, verify: `/jobs/${first.id}/verify`, settings: `/jobs/${first.id}/settings`, import: '/import',
    health: '/system', users: '/system/users', tokens: '/system/tokens', destinations: '/system/places', notifications: '/system/channels', keep: '/system/keep', audit: '/system/audit', api: '/api' };
  for (const [name, where] of Object.entries(places)) {
    await calm(one, where);
    if (['overview', 'arriving', 'log'].includes(name)) await one.waitForTimeout(2500);  // a few steps of progress belong into the picture
    if (name === 'verify') await one.locator('.notice.good').waitFor();
    if (name === 'history') await one.locator('canvas').waitFor();
    await shot(one, `${kind}-${name}`);
    if (best.includes(`${kind}-${name}`)) await one.screenshot({ path: path.join(folder, `best-${name}-${kind}.png`) });
  }
  await one.at('/add');
  await one.getByLabel('E-mail address').fill(source('anna@example.org'));
  await one.keyboard.press('Enter');
  await one.getByLabel('Password of this mailbox').fill('wrong');
  await one.keyboard.press('Enter');
  await one.locator('form > .steps .bad').waitFor();
  await shot(one, `${kind}-add-refused`);
  await one.getByLabel('Password of this mailbox').fill(world.password);
  await one.keyboard.press('Enter');
  await one.getByRole('heading', { name: 'Ready to haul' }).waitFor();
  await one.evaluate(() => scrollTo(0, 0));
  await shot(one, `${kind}-add`);
  await one.end();
}
await close();
