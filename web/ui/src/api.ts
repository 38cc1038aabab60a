// The REST API as typed calls. A call outlives a restarted server and an ended session: it waits and is made again
// where repeating it is safe.
import { signal } from '@preact/signals';
import type { components, paths } from './api.d';

type Schemas = components['schemas'];
export type Account = Schemas['Account'];
export type AccountRequest = Schemas['AccountRequest'];
export type AuditEntry = Schemas['AuditEntry'];
export type Channel = Schemas['Channel'];
export type Consent = Schemas['Consent'];
export type Counts = Schemas['Counts'];
export type Destination = Schemas['Destination'];
export type Discovery = Schemas['Discovery'];
export type Event = Schemas['Event'];
export type ImportReport = Schemas['ImportReport'];
export type Job = Schemas['Job'];
export type JobState = Schemas['JobState'];
export type Mailbox = Schemas['Mailbox'];
export type Message = Schemas['Message'];
export type Policy = Schemas['Policy'];
export type Progress = Schemas['Progress'];
export type Role = Schemas['Role'];
export type Run = Schemas['Run'];
export type Schedule = Schemas['Schedule'];
export type Session = Schemas['Session'];
export type System = Schemas['System'];
export type TestReport = Schemas['TestReport'];
export type Token = Schemas['Token'];
export type User = Schemas['User'];

export class Problem extends Error {
  constructor(readonly status: number, readonly detail: string, readonly advice = '', readonly field = '') {
    super(detail);
  }
}

export const session = signal<Session | null>(null);
/** The session ended under a page that is in use: the page stays, a dialog asks to log in. */
export const expired = signal(false);
/** False while the service cannot be reached. */
export const reachable = signal(true);

export const root = new URL('api/v1', document.baseURI).href;

let wakeUp: (() => void)[] = [];
export function loggedIn(who: Session) {
  session.value = who;
  expired.value = false;
  for (const wake of wakeUp.splice(0)) wake();
}
const nextLogin = () => new Promise<void>((resolve) => wakeUp.push(resolve));
export const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** Works without a secure context, where crypto.randomUUID does not exist. */
export function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (octet) => octet.toString(16).padStart(2, '0')).join('');
}

const etags = new WeakMap<object, string>();
export const etagOf = (object: object) => etags.get(object);

type Methods = 'get' | 'post' | 'patch' | 'delete';
type Operation<P extends keyof paths, M extends Methods> = paths[P][M];
type Body<O> = O extends { requestBody?: { content: infer C } } ? C[keyof C] : undefined;
type Answer<O> = O extends { responses: infer R }
  ? { [S in keyof R]: S extends 200 | 201 | 202 ? (R[S] extends { content: { 'application/json': infer B } } ? B : never) : never }[keyof R]
  : never;

export interface Options<B = unknown> {
  id?: number;
  query?: Record<string, string | number | boolean | undefined>;
  body?: B;
  key?: string;
  etag?: string;
  signal?: AbortSignal;
  /** Fail at once instead of waiting for the service or for a new login. */
  impatient?: boolean;
}

async function toProblem(response: Response) {
  try {
    const said = await response.json();
    return new Problem(response.status, said.detail || said.title || response.statusText, said.advice, said.field);
  } catch {
    return new Problem(response.status, `${response.status} ${response.statusText}`);
  }
}

async function send(method: Methods, path: string, options: Options): Promise<Response> {
  const url = new URL(root + path.replace('{id}', String(options.id)));
  for (const [name, value] of Object.entries(options.query ?? {}))
    if (value !== undefined && value !== '') url.searchParams.set(name, String(value));
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (method !== 'get' && session.value?.csrf) headers['X-CSRF-Token'] = session.value.csrf;
  if (options.key) headers['Idempotency-Key'] = options.key;
  if (options.etag) headers['If-Match'] = options.etag;
  let body: string | undefined;
  if (options.body !== undefined) {
    const text = typeof options.body === 'string';
    headers['Content-Type'] = text ? 'text/csv' : 'application/json';
    body = text ? (options.body as string) : JSON.stringify(options.body);
  }
  return fetch(url, { method: method.toUpperCase(), headers, body, signal: options.signal, credentials: 'same-origin', cache: 'no-store' });
}

export async function call<P extends keyof paths, M extends Methods>(
  method: M, path: P, options: Options<Body<Operation<P, M>>> = {}): Promise<Answer<Operation<P, M>>> {
  const repeatable = method === 'get' || !!options.key;
  for (let attempt = 0; ; ++attempt) {
    let response: Response;
    try {
      response = await send(method, path, options);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      reachable.value = false;
      if (options.impatient || !repeatable || attempt > 30) throw new Problem(0, '');
      await pause(Math.min(400 * 2 ** attempt, 4000));
      continue;
    }
    if ([502, 503, 504].includes(response.status) && repeatable && !options.impatient && attempt < 30) {
      reachable.value = false;
      await pause(Math.min(400 * 2 ** attempt, 4000));
      continue;
    }
    reachable.value = true;
    if (response.status === 401 && !options.impatient && session.value) {
      expired.value = true;
      await nextLogin();
      continue;
    }
    if (response.status === 204) return undefined as never;
    if (!response.ok) throw await toProblem(response);
    const answer = await response.json();
    const etag = response.headers.get('ETag');
    if (etag && answer && typeof answer === 'object') etags.set(answer, etag);
    return answer;
  }
}

/** All pages of a list. */
export async function all<T>(page: (cursor?: string) => Promise<{ items: T[]; next?: string }>): Promise<T[]> {
  const items: T[] = [];
  for (let cursor: string | undefined; ;) {
    const part = await page(cursor);
    items.push(...part.items);
    if (!part.next) return items;
    cursor = part.next;
  }
}
