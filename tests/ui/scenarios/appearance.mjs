// Languages, themes, sizes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, calm, main, scenario, screens, sideways, violations, whole } from '../browser.mjs';

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
