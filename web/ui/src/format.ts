// Numbers, sizes and times as people say them.
import { signal, type Signal } from '@preact/signals';
import { locale, t } from './i18n';

const unix = () => Math.floor(Date.now() / 1000);
/** Unix seconds, moved on every five seconds. */
export const now = signal(unix());
setInterval(() => (now.value = unix()), 5000);

// Thousands of rows say how long ago something was: they do not all look at the clock at the same moment.
const clocks = Array.from({ length: 16 }, () => signal(unix()));
let turn = 0;
setInterval(() => (clocks[++turn % clocks.length].value = unix()), 1000);
let given = 0;
export const ownClock = (): Signal<number> => clocks[++given % clocks.length];

// Formatters are dear to make.
let made = new Map<string, unknown>();
let madeFor = '';
function formatter<T>(key: string, make: (locale: string) => T): T {
  if (madeFor !== locale.value) {
    made = new Map();
    madeFor = locale.value;
  }
  let found = made.get(key) as T | undefined;
  if (!found) made.set(key, (found = make(madeFor)));
  return found;
}

export const count = (value: number) => formatter('count', (where) => new Intl.NumberFormat(where)).format(value);

export function size(octets: number) {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
  let unit = 0;
  while (octets >= 999.5 && unit < units.length - 1) {
    octets /= 1000;
    ++unit;
  }
  const digits = unit === 0 || octets >= 100 ? 0 : 1;
  return formatter(`${units[unit]} ${digits}`, (where) => new Intl.NumberFormat(where, {
    style: 'unit', unit: units[unit], unitDisplay: unit === 0 ? 'long' : 'short', maximumFractionDigits: digits })).format(octets);
}
export const rate = (octets: number) => t('rate', { size: size(octets) });

const steps: [number, Intl.RelativeTimeFormatUnit][] = [
  [60, 'second'], [3600, 'minute'], [86400, 'hour'], [604800, 'day'], [2629800, 'week'], [31557600, 'month'], [Infinity, 'year']];
const lengths: Record<string, number> = { second: 1, minute: 60, hour: 3600, day: 86400, week: 604800, month: 2629800, year: 31557600 };

export function ago(at: number, today = now.value) {
  const away = at - today;
  if (Math.abs(away) < 20) return t('time.now');
  const [, unit] = steps.find(([limit]) => Math.abs(away) < limit)!;
  return formatter('ago', (where) => new Intl.RelativeTimeFormat(where, { numeric: 'auto' })).format(Math.round(away / lengths[unit]), unit);
}

export function span(seconds: number) {
  const unit = seconds < 90 ? 'second' : seconds < 5400 ? 'minute' : seconds < 129600 ? 'hour' : 'day';
  const value = Math.max(1, Math.round(seconds / lengths[unit]));
  return formatter(`span ${unit}`, (where) => new Intl.NumberFormat(where, { style: 'unit', unit, unitDisplay: 'long' })).format(value);
}

export const moment = (at: number) =>
  formatter('moment', (where) => new Intl.DateTimeFormat(where, { dateStyle: 'medium', timeStyle: 'short' })).format(at * 1000);
export const clock = (at: number) =>
  formatter('clock', (where) => new Intl.DateTimeFormat(where, { hour: '2-digit', minute: '2-digit', second: '2-digit' })).format(at * 1000);

/** Text of strangers: control characters become visible, direction marks lose their power over what surrounds them. */
export function plain(text: string, limit = 2000) {
  const cut = text.length > limit ? text.slice(0, limit) + '…' : text;
  return cut.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
}

/** A Maildir++ folder as people read it: ".Projekte.&ANw-ber" is Projekte/Über. */
export function home(folder: string) {
  const readable = (part: string) => part
    .replace(/&([A-Za-z0-9+,]*)-/g, (whole, packed: string) => {
      if (!packed) return '&';
      try {
        const octets = atob(packed.replace(/,/g, '/'));
        let text = '';
        for (let at = 0; at + 1 < octets.length; at += 2) text += String.fromCharCode(octets.charCodeAt(at) * 256 + octets.charCodeAt(at + 1));
        return text;
      } catch {
        return whole;
      }
    })
    .replace(/\\([0-9a-f]{2})/g, (_, code: string) => String.fromCharCode(parseInt(code, 16)));
  return folder.startsWith('.') ? folder.slice(1).split('.').map(readable).join('/') : folder;
}

/** INBOX comes first, the others by name. */
export function inOrder<T>(list: T[], name: (one: T) => string): T[] {
  const names = new Intl.Collator(locale.value, { numeric: true });
  const rank = (text: string) => (/^inbox$/i.test(text) ? 0 : 1);
  return [...list].sort((a, b) => rank(name(a)) - rank(name(b)) || names.compare(name(a), name(b)));
}
