// Words in the language of the reader. English is part of the page, the others come when they are needed.
import { signal } from '@preact/signals';
import { en } from './lang/en';

type Plural = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };
export type Key = keyof typeof en;
export type Words = Record<Key, string | Plural>;
export type Values = Record<string, string | number>;

export const languages = { en: 'English', it: 'Italiano', ru: 'Русский', cs: 'Čeština', de: 'Deutsch' };
export type Language = keyof typeof languages;
const loaders: Record<Exclude<Language, 'en'>, () => Promise<{ words: Words }>> = {
  it: () => import('./lang/it'),
  ru: () => import('./lang/ru'),
  cs: () => import('./lang/cs'),
  de: () => import('./lang/de'),
};

const words = signal<Words>(en);
export const language = signal<Language>('en');
/** The language with the region of the reader, for dates and numbers: en-GB. */
export const locale = signal('en');
let plurals = new Intl.PluralRules('en');
let numbers = new Intl.NumberFormat('en');

/** `n` among the values chooses the plural form. */
export function t(key: Key, values: Values = {}): string {
  const entry = words.value[key] ?? en[key];
  const form = typeof entry === 'string' ? entry : (entry[plurals.select(Number(values.n ?? 0))] ?? entry.other);
  return form.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === 'number' ? numbers.format(value) : value;
  });
}

export function preferred(): Language {
  const wanted = [localStorage.getItem('language') ?? '', ...navigator.languages];
  for (const one of wanted) {
    const short = one.slice(0, 2).toLowerCase();
    if (short in languages) return short as Language;
  }
  return 'en';
}

export async function speak(wanted: Language) {
  let found: Words = en;
  try {
    if (wanted !== 'en') found = (await loaders[wanted]()).words;
  } catch {
    wanted = 'en';
  }
  plurals = new Intl.PluralRules(wanted);
  locale.value = navigator.languages.find((one) => one.slice(0, 2).toLowerCase() === wanted) ?? wanted;
  numbers = new Intl.NumberFormat(locale.value);
  document.documentElement.lang = wanted;
  language.value = wanted;
  words.value = found;
}
