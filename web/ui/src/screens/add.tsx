// An address, a password, a look at what is there, and it starts. What was typed stays until the account exists.
import { batch, computed, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { call, freshKey, Problem, type Discovery, type Policy, type TestReport } from '../api';
import { count, inOrder, plain, size } from '../format';
import { t, type Key } from '../i18n';
import { go } from '../router';
import { destinations, loadDestinations, loadSystem, put, system } from '../state';
import { Button, complain, Field, Foreign, Icon, Loading, Meter, Notice, say, Secret, Title, Trouble } from '../ui';
import { Consent } from './consent';
import { Plan, readPlan, type PlanReport } from './report';

type Step = 'address' | 'login' | 'plan';
const empty = { address: '', password: '', protocol: 'imaps', host: '', port: '', user: '', ca: '', authzid: '', plaintext: false };
const form = signal(empty);
const step = signal<Step>('address');
const discovery = signal<Discovery | null>(null);
const byHand = signal(false);
const report = signal<TestReport | null>(null);
const busy = signal<'' | 'discover' | 'test' | 'start' | 'plan'>('');
const trouble = signal<unknown>(null);
const left = signal<ReadonlySet<string>>(new Set());
const place = signal<string>('own');
const path = signal('');
const repeat = signal<'15' | '60' | '1440' | 'once'>('15');
const since = signal('');
const vanish = signal<'keep' | 'flag' | 'remove'>('keep');
const made = signal<{ account?: number; destination?: number; job?: number; plan?: PlanReport; bare?: boolean }>({});
/** The account was made to be allowed at its provider, and is: no password is wanted. */
const allowed = signal(false);
let keys = { account: freshKey(), destination: freshKey(), job: freshKey() };

const set = (part: Partial<typeof empty>) => (form.value = { ...form.value, ...part });
const ports: Record<string, string> = { imaps: '993', imap: '143', pop3s: '995', pop3: '110' };

export const source = computed(() => {
  const f = form.value;
  const host = f.host.includes(':') ? `[${f.host}]` : f.host;
  return `${f.protocol}://${f.user}@${host}${f.port && f.port !== ports[f.protocol] ? `:${f.port}` : ''}`;
});

/** `scheme://user@host:port` as the fields of the form; the last @ splits. */
export function parse(url: string) {
  const found = /^(imaps?|pop3s?):\/\/(?:(.*)@)?(\[[^\]]+\]|[^:/@[\]]+)(?::(\d+))?\/?$/.exec(url.trim());
  if (!found) return null;
  const [, protocol, user = '', host, port = ''] = found;
  return { protocol, user, host: host.replace(/^\[|\]$/g, ''), port: port || ports[protocol] };
}

const request = () => ({
  source: source.value, name: form.value.address.includes('://') ? form.value.user : form.value.address.trim(), password: form.value.password,
  ...(form.value.plaintext && { allow_plaintext: true }), ...(form.value.ca && { ca: form.value.ca }), ...(form.value.authzid && { authzid: form.value.authzid }),
});

async function attempt(what: typeof busy.value, work: () => Promise<void>) {
  if (busy.value) return;
  busy.value = what;
  trouble.value = null;
  try {
    await work();
  } catch (problem) {
    trouble.value = problem;
  }
  busy.value = '';
}

function forget() {
  batch(() => {
    form.value = empty;
    step.value = 'address';
    discovery.value = report.value = trouble.value = null;
    byHand.value = false;
    left.value = new Set();
    place.value = 'own';
    path.value = since.value = '';
    repeat.value = '15';
    vanish.value = 'keep';
    made.value = {};
    allowed.value = false;
    keys = { account: freshKey(), destination: freshKey(), job: freshKey() };
  });
}

const discover = (event: Event) => {
  event.preventDefault();
  void attempt('discover', async () => {
    const address = form.value.address.trim();
    const direct = parse(address);
    if (direct) {
      batch(() => {
        set(direct);
        discovery.value = null;
        byHand.value = true;
        step.value = 'login';
      });
      return;
    }
    allowed.value = false;
    const found = await call('post', '/discovery', { body: { address }, impatient: false });
    batch(() => {
      discovery.value = found;
      const best = found.settings[0] && parse(found.settings[0].source);
      set(best ? { ...best, user: best.user || address } : { user: address, host: form.value.host || '', port: form.value.port || '993' });
      byHand.value = !best;
      report.value = null;
      step.value = 'login';
    });
    say(found.settings.length ? t('add.found', { host: form.value.host }) : t('add.unknown'), true);
  });
};

const test = (event: Event) => {
  event.preventDefault();
  void attempt('test', async () => {
    report.value = null;
    allowed.value = false;
    await judge(await call('post', '/accounts/test', { body: request() }));
  });
};

async function judge(found: TestReport) {
  report.value = found;
  if (!found.ok) {
    const bad = found.steps.find((one) => !one.ok);
    say(t('add.test.bad', { what: plain(bad?.detail ?? '', 200) }), true);
    return;
  }
  if (!path.value) path.value = form.value.address.includes('://') ? form.value.user : form.value.address.trim();
  const remembered = localStorage.getItem('destination');
  await Promise.all([loadDestinations(), loadSystem()]);
  if (remembered && destinations.value.some((one) => String(one.id) === remembered)) place.value = remembered;
  step.value = 'plan';  // what it offers is complete: until then a click on it would do nothing
}

function policy(): Policy {
  return {
    ...(left.value.size && { exclude: [...left.value].map((name) => name.replace(/[[\]*?\\]/g, '\\$&')) }),
    ...(since.value && { since: since.value }), ...(vanish.value !== 'keep' && { on_source_delete: vanish.value }),
  };
}

/** Makes what does not exist yet; asked again after a failure it goes on where it stopped. */
async function make(paused: boolean) {
  if (!made.value.account) {
    const account = await call('post', '/accounts', { body: { ...request(), allow_plaintext: form.value.plaintext }, key: keys.account });
    made.value = { ...made.value, account: account.id };
  } else if (made.value.bare && !allowed.value) {
    await call('patch', '/accounts/{id}', { id: made.value.account, body: request() });
  }
  let destination = Number(place.value);
  if (place.value === 'own') {
    if (!made.value.destination) {
      await loadDestinations();
      const there = destinations.value.find((one) => one.path === path.value.trim());
      const one = there ?? await call('post', '/destinations', { body: { path: path.value.trim(), name: path.value.trim(), names: 'utf7' }, key: keys.destination });
      made.value = { ...made.value, destination: one.id };
    }
    destination = made.value.destination!;
  }
  const schedule = repeat.value === 'once' ? { kind: 'once' as const } : { kind: 'every' as const, minutes: Number(repeat.value) };
  const rules = { policy: policy(), schedule };
  const job = made.value.job
    ? await call('patch', '/jobs/{id}', { id: made.value.job, body: { ...rules, paused } })
    : await call('post', '/jobs', { body: { account: made.value.account!, destination, ...rules, paused }, key: keys.job });
  made.value = { ...made.value, job: job.id };
  put(job);
  return job;
}

const start = () => attempt('start', async () => {
  const job = await make(false);
  forget();
  go(`/jobs/${job.id}`);
});
const preview = () => attempt('plan', async () => {
  made.value = { ...made.value, plan: undefined };
  const job = await make(true);
  const run = await call('post', '/jobs/{id}/preview', { id: job.id });
  made.value = { ...made.value, plan: await readPlan(run.id) };
});

/** An account that was made with a wrong idea goes away with the draft. */
async function giveUp() {
  const { account } = made.value;
  forget();
  if (account) await call('delete', '/accounts/{id}', { id: account }).catch(complain);
}

export function Add() {
  useEffect(() => () => { if (busy.value === '') trouble.value = null; }, []);
  return (
    <div class="flow">
      <div class="head-line"><Title text={t('add')} />{step.value !== 'address' && <Button kind="quiet" icon="repeat" onClick={giveUp}>{t('add.again')}</Button>}</div>
      <Address />
      {step.value !== 'address' && <LogIn />}
      {step.value === 'login' && <Allow />}
      {step.value === 'plan' && report.value?.ok && <Choose />}
    </div>
  );
}

function Address() {
  const open = step.value === 'address';
  return (
    <form class="card" onSubmit={discover}>
      <Field label={t('add.address')} hint={open ? t('add.address.hint') : undefined}>{(attributes) => (
        <div class="line"><input {...attributes} class="big" type="text" inputMode="email" autoComplete="off" autoCapitalize="off" spellcheck={false} required
          autoFocus={open} placeholder={t('add.address.example')} value={form.value.address} onInput={(event) => { set({ address: event.currentTarget.value }); if (!open) step.value = 'address'; }} />
          {open && <Button kind="main" type="submit" busy={busy.value === 'discover'} icon="arrow">{t('continue')}</Button>}</div>
      )}</Field>
      {busy.value === 'discover' && <p class="loading" role="status">{t('add.looking', { domain: plain(form.value.address.split('@').pop() ?? '', 80) })}</p>}
      {open && <><Trouble of={trouble.value} /><p class="aside">{t('add.many')} <a href="#/import">{t('import')}</a></p></>}
    </form>
  );
}

function Steps({ list }: { list: { step: string; ok: boolean; milliseconds: number; detail?: string; advice?: string }[] }) {
  return (
    <ol class="steps">{list.map((one, at) => (
      <li key={at} class={one.ok ? 'good' : 'bad'}>
        <Icon of={one.ok ? 'check' : 'cross'} />
        <div><span class="hidden">{one.ok ? t('good') : t('bad')} </span><strong>{known(one.step)}</strong> <small>{t('milliseconds', { n: one.milliseconds })}</small>
          {one.detail && <p><Foreign text={one.detail} /></p>}
          {one.advice && <p class="advice"><Foreign text={one.advice} /></p>}</div>
      </li>))}
    </ol>
  );
}
const steps: Record<string, Key> = { address: 'test.address', connect: 'test.connect', secure: 'test.secure', 'log in': 'test.login', mailboxes: 'test.mailboxes' };
const known = (name: string) => (steps[name] ? t(steps[name]) : plain(name, 200));

function LogIn() {
  const f = form.value;
  const found = discovery.value;
  const password = useRef<HTMLDivElement>(null);
  useEffect(() => { (password.current?.querySelector<HTMLInputElement>(byHand.peek() && !form.peek().host ? '[name=host]' : '[name=password]'))?.focus(); }, [found]);
  const done = step.value === 'plan';
  return (
    <form class="card" onSubmit={test}>
      <div ref={password}>
        {found && found.settings.length === 0 && <Notice kind="warn" role="alert" title={t('add.unknown')}>{t('add.unknown.advice')}</Notice>}
        {f.host && <p class="server"><Icon of="shield" /><span><b><Foreign text={f.host} />{f.port && <>:{f.port}</>}</b> {t(f.protocol.endsWith('s') ? 'tls' : f.plaintext ? 'cleartext' : 'starttls')}
          {found?.settings[0] && <small> · {t('add.from', { from: plain(found.settings.find((one) => parse(one.source)?.host === f.host)?.from ?? found.settings[0].from, 100) })}</small>}</span>
          {!byHand.value && <Button small kind="quiet" onClick={() => (byHand.value = true)}>{t('change')}</Button>}</p>}
        {found && found.settings.length > 1 && byHand.value && (
          <Field label={t('add.settings')}>{(attributes) => <select {...attributes} onChange={(event) => set(parse(event.currentTarget.value) ?? {})}>
            {found.settings.map((one) => <option key={one.source} value={one.source}>{plain(`${one.source} · ${one.from}`, 160)}</option>)}</select>}</Field>)}
        {found?.help && <div class="provider"><Icon of="key" /><div><strong>{found.provider ? plain(found.provider, 80) : t('add.help')}</strong><p><Foreign text={found.help} /></p>
          {found.help_url && /^https:\/\//.test(found.help_url) && <a href={found.help_url} target="_blank" rel="noreferrer noopener">{t('add.help.open')}</a>}</div></div>}
        {byHand.value && <ByHand />}
        {f.protocol.startsWith('pop3') && <Notice kind="warn" title={t('add.pop3')}>{t('add.pop3.text')}</Notice>}
        {!allowed.value && <Field label={t('add.password')} hint={t('add.password.hint')}>{(attributes) => <Secret {...attributes} name="password" fresh required value={f.password} onInput={(value) => set({ password: value })} />}</Field>}
        {found && <details class="more"><summary>{t('add.tried', { n: found.steps.length })}</summary><Steps list={found.steps} /></details>}
      </div>
      {report.value && (done ? <details class="more"><summary><Icon of="check" />{t('add.test.good')}</summary><Steps list={report.value.steps} /></details> : <Steps list={report.value.steps} />)}
      {busy.value === 'test' && <p class="loading" role="status">{t('add.testing', { host: plain(f.host, 80) })}</p>}
      {!done && <Trouble of={trouble.value} />}
      {!allowed.value && <footer><Button kind={done ? 'plain' : 'main'} type="submit" busy={busy.value === 'test'} icon={done ? 'repeat' : 'arrow'}>{done ? t('add.test.again') : t('add.test')}</Button></footer>}
    </form>
  );
}

/** An account without a password, for its provider to let us in. */
async function bare() {
  const body = { source: source.value, name: form.value.address.includes('://') ? form.value.user : form.value.address.trim(), allow_plaintext: form.value.plaintext, ca: form.value.ca, authzid: form.value.authzid };
  const account = made.value.account ? await call('patch', '/accounts/{id}', { id: made.value.account, body }) : await call('post', '/accounts', { body, key: keys.account });
  made.value = { ...made.value, account: account.id, bare: true };
  return account.id;
}

async function tryAllowed() {
  allowed.value = true;
  await judge(await call('post', '/accounts/{id}/test', { id: made.value.account }));
  if (step.peek() !== 'plan') allowed.value = false;
}

function Allow() {
  const logins = discovery.value?.logins ?? [];
  const offered = logins.includes('oauth2');
  return (
    <details class="card allow" open={offered || undefined} key={String(offered)}><summary>{t(logins[0] === 'oauth2' ? 'consent.best' : 'consent.instead')}</summary>
      <p class="lead">{t('consent.lead')}</p>
      <Consent account={bare} id={made.value.account} provider={offered ? discovery.value?.provider : undefined} stranger={!offered} onAllowed={tryAllowed} /></details>
  );
}

function ByHand() {
  const f = form.value;
  return (
    <div class="grid">
      <Field label={t('protocol')}>{(attributes) => <select {...attributes} value={f.protocol} onChange={(event) => set({ protocol: event.currentTarget.value, port: ports[event.currentTarget.value] })}>
        <option value="imaps">IMAP, TLS</option><option value="imap">IMAP, STARTTLS</option><option value="pop3s">POP3, TLS</option><option value="pop3">POP3, STLS</option></select>}</Field>
      <Field label={t('host')}>{(attributes) => <input {...attributes} name="host" required spellcheck={false} autoCapitalize="off" value={f.host} onInput={(event) => set({ host: event.currentTarget.value.trim() })} />}</Field>
      <Field label={t('port')}>{(attributes) => <input {...attributes} inputMode="numeric" pattern="[0-9]{1,5}" value={f.port} onInput={(event) => set({ port: event.currentTarget.value })} />}</Field>
      <Field label={t('server.user')}>{(attributes) => <input {...attributes} required spellcheck={false} autoCapitalize="off" value={f.user} onInput={(event) => set({ user: event.currentTarget.value })} />}</Field>
      <details class="more wide"><summary>{t('add.expert')}</summary>
        <Field label={t('authzid')} hint={t('authzid.hint')}>{(attributes) => <input {...attributes} value={f.authzid} onInput={(event) => set({ authzid: event.currentTarget.value })} />}</Field>
        <Field label={t('ca')} hint={t('ca.hint')}>{(attributes) => <textarea {...attributes} rows={3} class="code" spellcheck={false} value={f.ca} onInput={(event) => set({ ca: event.currentTarget.value })} />}</Field>
        {!f.protocol.endsWith('s') && <label class="check"><input type="checkbox" checked={f.plaintext} onChange={(event) => set({ plaintext: event.currentTarget.checked })} /><span>{t('plaintext')}<small>{t('plaintext.hint')}</small></span></label>}
      </details>
    </div>
  );
}

function Mailboxes() {
  const list = inOrder(report.value?.mailboxes ?? [], (one) => one.name);
  const chosen = list.filter((one) => !left.value.has(one.name));
  const messages = chosen.reduce((sum, one) => sum + (one.messages ?? 0), 0);
  const octets = chosen.reduce((sum, one) => sum + (one.octets ?? 0), 0);
  const flip = (name: string) => {
    const next = new Set(left.value);
    if (!next.delete(name)) next.add(name);
    left.value = next;
  };
  const most = Math.max(1, ...list.map((one) => one.octets ?? one.messages ?? 0));
  return (
    <section>
      <h3>{t('add.mailboxes')}</h3>
      <p class="lead">{t('messages', { n: messages })}{octets > 0 && ` · ${size(octets)}`}
        {octets > 0 && system.value && octets > system.value.disk_free && <span class="wrong"> {t('add.nospace', { free: size(system.value.disk_free) })}</span>}</p>
      <ul class="picks">{list.map((one) => (
        <li key={one.name}><label class="check"><input type="checkbox" checked={!left.value.has(one.name)} onChange={() => flip(one.name)} /><span><Foreign text={one.name} limit={300} /></span></label>
          <Meter label={plain(one.name, 80)} value={one.octets ?? one.messages ?? 0} of={most} text={one.messages === undefined ? '' : t('messages', { n: one.messages })} />
          <span class="number">{one.messages === undefined ? '' : count(one.messages)}</span><span class="number">{one.octets ? size(one.octets) : ''}</span></li>))}
      </ul>
    </section>
  );
}

function Choose() {
  const top = useRef<HTMLDivElement>(null);
  useEffect(() => { top.current?.focus({ preventScroll: true }); top.current?.scrollIntoView({ block: 'nearest', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' }); }, []);
  const fixed = !!made.value.job;
  const others = destinations.value.filter((one) => one.id !== made.value.destination);
  return (
    <form class="card" onSubmit={(event) => { event.preventDefault(); void start(); }}>
      <div ref={top} tabIndex={-1} class="target" role="group" aria-label={t('add.plan')}><h2>{t('add.plan')}</h2></div>
      <Mailboxes />
      <section>
        <h3>{t('add.where')}</h3>
        <fieldset class="options" disabled={fixed}>
          <legend class="hidden">{t('add.where')}</legend>
          <label class="option"><input type="radio" name="where" checked={place.value === 'own'} onChange={() => (place.value = 'own')} />
            <span><strong>{t('add.where.own')}</strong><small>{plain(`${(system.value?.mail_root ?? '').replace(/\/$/, '')}/`, 200)}<input class="inline" aria-label={t('add.where.path')} value={path.value} required={place.value === 'own'} maxLength={1000}
              onFocus={() => (place.value = 'own')} onInput={(event) => (path.value = event.currentTarget.value)} /></small></span></label>
          {others.length > 0 && <label class="option"><input type="radio" name="where" checked={place.value !== 'own'} onChange={() => (place.value = String(others[0].id))} />
            <span><strong>{t('add.where.other')}</strong><small><select class="inline" aria-label={t('add.where.other')} value={place.value === 'own' ? '' : place.value}
              onChange={(event) => { if (event.currentTarget.value) place.value = event.currentTarget.value; }}>
              {place.value === 'own' && <option value="">…</option>}
              {others.map((one) => <option key={one.id} value={one.id}>{plain(`${one.name} · ${t('add.where.shared', { n: one.jobs.length })}`, 120)}</option>)}</select></small></span></label>}
        </fieldset>
      </section>
      <details class="more"><summary>{t('add.options')}</summary>
        <div class="grid">
          <Field label={t('schedule')}>{(attributes) => <select {...attributes} value={repeat.value} onChange={(event) => (repeat.value = event.currentTarget.value as typeof repeat.value)}>
            <option value="15">{t('every.minutes', { n: 15 })}</option><option value="60">{t('every.hours', { n: 1 })}</option><option value="1440">{t('every.days', { n: 1 })}</option><option value="once">{t('once')}</option></select>}</Field>
          <Field label={t('since')} hint={t('since.hint')}>{(attributes) => <input {...attributes} type="date" value={since.value} onInput={(event) => (since.value = event.currentTarget.value)} />}</Field>
          <Field label={t('vanish')} hint={t(`vanish.${vanish.value}.text`)} wide>{(attributes) => <select {...attributes} value={vanish.value} onChange={(event) => (vanish.value = event.currentTarget.value as typeof vanish.value)}>
            {(['keep', 'flag', 'remove'] as const).map((one) => <option key={one} value={one}>{t(`vanish.${one}`)}</option>)}</select>}</Field>
        </div>
      </details>
      {busy.value === 'plan' && <Loading />}
      {made.value.plan && <Plan report={made.value.plan} />}
      <Trouble of={trouble.value instanceof Problem ? trouble.value : trouble.value} />
      <footer><Button onClick={preview} busy={busy.value === 'plan'}>{t('add.preview')}</Button>
        <Button kind="main" type="submit" busy={busy.value === 'start'} icon="download">{t('add.start')}</Button></footer>
    </form>
  );
}
