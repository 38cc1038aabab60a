// What the page knows of the service: a signal per job, so that an event redraws one row and nothing else.
import { batch, signal, type Signal } from '@preact/signals';
import { all, call, expired, pause, reachable, root, session, type Destination, type Event, type Job, type System } from './api';
import { t } from './i18n';

export const jobs = new Map<number, Signal<Job>>();
export const ids = signal<number[]>([]);
export const loaded = signal(false);
export const stage = signal<'starting' | 'setup' | 'login' | 'in'>('starting');
/** Moves on when jobs changed their states, at most twice a second: what is sorted or summed looks again. */
export const changes = signal(0);
let moving: ReturnType<typeof setTimeout> | undefined;
function moved() {
  moving ??= setTimeout(() => {
    moving = undefined;
    ++changes.value;
  }, 500);
}
export const system = signal<System | null>(null);
export const destinations = signal<Destination[]>([]);
export const logs = new Map<number, Signal<Event[]>>();
export const rates = new Map<number, Signal<number[]>>();
/** Moves on when a run of the job began or ended. */
export const runs = new Map<number, Signal<number>>();

const LOG_LINES = 500;
const RATES = 48;

function entry<T>(map: Map<number, Signal<T>>, id: number, first: T) {
  let found = map.get(id);
  if (!found) map.set(id, (found = signal(first)));
  return found;
}
export const logOf = (id: number) => entry(logs, id, [] as Event[]);
export const ratesOf = (id: number) => entry(rates, id, [] as number[]);
export const runsOf = (id: number) => entry(runs, id, 0);

export function put(job: Job) {
  const known = jobs.get(job.id);
  if (known) {
    const other = known.peek().state !== job.state || known.peek().counts.delivered !== job.counts.delivered;
    known.value = job;
    if (other) moved();
  } else {
    jobs.set(job.id, signal(job));
    ids.value = [...ids.value, job.id];
    ++changes.value;
  }
}
export function drop(id: number) {
  jobs.delete(id);
  ids.value = ids.value.filter((one) => one !== id);
  ++changes.value;
}

export async function loadJobs() {
  const seen = new Set<number>();
  let cursor: string | undefined;
  do {
    // The first page is small: something to look at while the others come.
    const page = await call('get', '/jobs', { query: { limit: cursor || loaded.peek() ? 500 : 50, cursor } });
    batch(() => {
      const added: number[] = [];
      for (const job of page.items) {
        seen.add(job.id);
        const known = jobs.get(job.id);
        if (known) known.value = job;
        else {
          jobs.set(job.id, signal(job));
          added.push(job.id);
        }
      }
      if (added.length) ids.value = [...ids.value, ...added];
      ++changes.value;
      loaded.value = true;
    });
    cursor = page.next;
  } while (cursor);
  if (ids.value.some((id) => !seen.has(id))) {
    for (const id of ids.value) if (!seen.has(id)) jobs.delete(id);
    ids.value = ids.value.filter((id) => seen.has(id));
  }
}

export async function loadJob(id: number) {
  const job = await call('get', '/jobs/{id}', { id });
  put(job);
  return job;
}
export async function loadSystem() {
  system.value = await call('get', '/system');
}
/** A path below the mail root without it. */
export function below(path: string) {
  const root = (system.value?.mail_root ?? '').replace(/\/*$/, '/');
  return root.length > 1 && path.startsWith(root) ? path.slice(root.length) : path;
}
export async function loadDestinations() {
  destinations.value = await all((cursor) => call('get', '/destinations', { query: { limit: 500, cursor } }));
}

const stale = new Set<number>();
let reading = false;
async function refresh() {
  if (reading) return;
  reading = true;
  try {
    while (stale.size) {
      await pause(250);
      if (stale.size > 30) {
        stale.clear();
        await loadJobs();
        continue;
      }
      const wanted = [...stale];
      stale.clear();
      await Promise.all(wanted.map((id) => loadJob(id).catch((problem) => problem.status === 404 && drop(id))));
    }
  } catch {
    // the next event asks again
  } finally {
    reading = false;
  }
}

function note(event: Event, text: string) {
  logOf(event.job!).value = [...logOf(event.job!).value.slice(1 - LOG_LINES), { ...event, level: event.level ?? 'info', text }];
}

function took(event: Event) {
  const id = event.job;
  if (!id) return;
  if (event.kind === 'log') return note(event, event.text ?? '');
  const known = jobs.get(id);
  if (event.kind === 'progress' && known && event.progress) {
    const { progress } = event;
    const before = known.peek().progress;
    if (progress.phase !== before?.phase || progress.mailbox !== before?.mailbox)
      note(event, [t(`phase.${progress.phase ?? 'fetching'}`), progress.mailbox, progress.messages ? t('messages', { n: progress.messages }) : ''].filter(Boolean).join(' · '));
    known.value = { ...known.peek(), progress: event.progress, state: event.state ?? known.peek().state };
    if (event.progress.octets_per_second !== undefined)
      ratesOf(id).value = [...ratesOf(id).value.slice(1 - RATES), event.progress.octets_per_second];
    return;
  }
  if (known && event.state && event.state !== known.peek().state) {
    known.value = { ...known.peek(), state: event.state };
    moved();
    note(event, t(`state.${event.state}`));
  }
  if (event.kind === 'run') ++runsOf(id).value;
  stale.add(id);
  void refresh();
}

/** Somebody is logged in: show the page and follow what happens. */
export function enter() {
  stage.value = 'in';
  if (listening) return;
  listening = true;
  begun = Math.floor(Date.now() / 1000);
  loadJobs().catch(() => undefined);
  loadSystem().catch(() => undefined);
  void follow();
}

let last = 0;
let listening = false;
let begun = 0;

async function missed() {
  const list = await call('get', '/events', { query: { since: last }, impatient: true });
  // Of what happened before this page, only the log is news.
  batch(() => list.items.filter((event) => event.kind === 'log' || last !== 0 || event.at >= begun - 1).forEach(took));
  if (list.reset && last !== 0) await loadJobs();
  last = list.last;
}

/** Server-sent events; where a proxy swallows them, questions every two seconds. */
async function follow() {
  for (let failures = 0; listening;) {
    if (!session.value || expired.value) {
      await pause(300);
      continue;
    }
    try {
      await missed();
      reachable.value = true;
    } catch (error) {
      const status = (error as { status?: number }).status;
      if (status === 401) expired.value = true;
      else reachable.value = false;
      await pause(Math.min(500 * 2 ** failures++, 5000));
      continue;
    }
    const lived = failures < 3 && (await stream());
    if (lived) failures = 0;
    else {
      ++failures;
      await pause(failures < 3 ? 300 : 2000);
    }
    if (failures > 30) failures = 3;
  }
}

function stream() {
  return new Promise<boolean>((resolve) => {
    const source = new EventSource(`${root}/events?since=${last}`);
    let opened = 0;
    const end = () => {
      source.close();
      resolve(opened > 0 && Date.now() - opened > 3000);
    };
    const read = (message: MessageEvent<string>) => {
      let event: Event & { reset?: boolean };
      try {
        event = JSON.parse(message.data);
      } catch {
        return;
      }
      if (event.reset) return end();
      if (event.id > last) {
        last = event.id;
        took(event);
      }
    };
    source.onopen = () => {
      opened = Date.now();
      reachable.value = true;
    };
    source.onerror = end;
    source.onmessage = read;
    for (const kind of ['job', 'progress', 'run', 'account', 'log', 'reset']) source.addEventListener(kind, read);
  });
}
