// Numbers, sizes and times as people say them.
import { signal } from '@preact/signals';
import { locale, t } from './i18n';

/** Unix seconds, moved on every five seconds. */
export const now = signal(Math.floor(Date.now() / 1000));
setInterval(() => (now.value = Math.floor(Date.now() / 1000)), 5000);

export const count = (value: number) => new Intl.NumberFormat(locale.value).format(value);

export function size(octets: number) {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
  let unit = 0;
  while (octets >= 999.5 && unit < units.length - 1) {
    octets /= 1000;
    ++unit;
  }
  return new Intl.NumberFormat(locale.value, {
    style: 'unit', unit: units[unit], unitDisplay: unit === 0 ? 'long' : 'short',
    maximumFractionDigits: unit === 0 || octets >= 100 ? 0 : 1,
  }).format(octets);
}
export const rate = (octets: number) => t('rate', { size: size(octets) });

const steps: [number, Intl.RelativeTimeFormatUnit][] = [
  [60, 'second'], [3600, 'minute'], [86400, 'hour'], [604800, 'day'], [2629800, 'week'], [31557600, 'month'], [Infinity, 'year']];
const lengths: Record<string, number> = { second: 1, minute: 60, hour: 3600, day: 86400, week: 604800, month: 2629800, year: 31557600 };

export function ago(at: number) {
  const away = at - now.value;
  if (Math.abs(away) < 10) return t('time.now');
  const [, unit] = steps.find(([limit]) => Math.abs(away) < limit)!;
  return new Intl.RelativeTimeFormat(locale.value, { numeric: 'auto' }).format(Math.round(away / lengths[unit]), unit);
}

export function span(seconds: number) {
  const unit = seconds < 90 ? 'second' : seconds < 5400 ? 'minute' : seconds < 129600 ? 'hour' : 'day';
  const value = Math.max(1, Math.round(seconds / lengths[unit]));
  return new Intl.NumberFormat(locale.value, { style: 'unit', unit, unitDisplay: 'long' }).format(value);
}

export const moment = (at: number) =>
  new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium', timeStyle: 'short' }).format(at * 1000);
export const clock = (at: number) =>
  new Intl.DateTimeFormat(locale.value, { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(at * 1000);

/** Text of strangers: control characters become visible, direction marks lose their power over what surrounds them. */
export function plain(text: string, limit = 2000) {
  const cut = text.length > limit ? text.slice(0, limit) + '…' : text;
  return cut.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
}
