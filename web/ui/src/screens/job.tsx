// One account: what is here, what is missing and why, what happened.
import { signal, useSignal } from '@preact/signals';
import type { ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';
import { call, type Job, type Mailbox, type Message, type Run } from '../api';
import { clock, count, home, inOrder, moment, plain, size, span } from '../format';
import { t, type Key } from '../i18n';
import { go, parts } from '../router';
import { below, drop, ids, jobs, loadJob, logOf, put, ratesOf, runsOf } from '../state';
import { Button, complain, Confirm, Empty, Field, Foreign, Icon, Loading, may, Meter, Notice, save, say, Secret, Spark, State, Tabs, tell, Title, Trouble, When } from '../ui';
import { Consent } from './consent';
import { Amount, Doing } from './overview';
import { readRun, Verification } from './report';
import { Settings } from './settings';

type Refetch = () => void;
/** Reads again whenever `when` changes; the old answer stays on the screen until the new one is there. */
function useRead<T>(read: () => Promise<T>, when: unknown[]): [T | null, unknown, Refetch] {
  const value = useSignal<T | null>(null);
  const trouble = useSignal<unknown>(null);
  const turn = useSignal(0);
  useEffect(() => {
    let current = true;
    read().then((found) => { if (current) { value.value = found; trouble.value = null; } }, (problem) => { if (current) trouble.value = problem; });
    return () => { current = false; };
  }, [...when, turn.value]);
  return [value.value, trouble.value, () => ++turn.value];
}

async function act(what: () => Promise<Job>, done?: string) {
  try {
    put(await what());
    if (done) tell(done);
  } catch (problem) {
    complain(problem);
  }
}

function Actions({ job }: { job: Job }) {
  if (!may('run')) return null;
  const { id } = job;
  const going = job.state === 'running' || job.state === 'queued';
  return (
    <div class="buttons">
      {going
        ? <Button icon="stop" onClick={() => act(() => call('post', '/jobs/{id}/cancel', { id }), t('did.stop'))}>{t('stop')}</Button>
        : <Button icon="repeat" disabled={job.paused} onClick={() => act(() => call('post', '/jobs/{id}/run', { id, body: { retry_failed: false } }), t('did.run', { n: 1 }))}>{t('run')}</Button>}
      {job.paused
        ? <Button kind="main" icon="play" onClick={() => act(() => call('patch', '/jobs/{id}', { id, body: { paused: false } }), t('did.resumed', { n: 1 }))}>{t('resume')}</Button>
        : <Button icon="pause" onClick={() => act(() => call('patch', '/jobs/{id}', { id, body: { paused: true } }), t('did.paused', { n: 1 }))}>{t('pause')}</Button>}
    </div>
  );
}

/** `stay`: the job tries the new password at once, and the form waits for what comes of it. */
function Relogin({ job, stay }: { job: Job; stay: { value: boolean } }) {
  const password = useSignal('');
  const busy = useSignal(false);
  const trouble = useSignal<unknown>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy.value) return;
    busy.value = stay.value = true;
    trouble.value = null;
    try {
      await call('patch', '/accounts/{id}', { id: job.account, body: { password: password.value } });
      const found = await call('post', '/accounts/{id}/test', { id: job.account });
      const bad = found.steps.find((one) => !one.ok);
      if (bad) trouble.value = new Error(plain([bad.detail, bad.advice].filter(Boolean).join(' · ')));
      else {
        put(await call('post', '/jobs/{id}/run', { id: job.id, body: { retry_failed: false } }));
        tell(t('relogin.done'));
        stay.value = false;
      }
    } catch (problem) {
      trouble.value = problem;
    }
    busy.value = false;
  };
  const [consent] = useRead(() => call('get', '/accounts/{id}/consent', { id: job.account }), [job.account, job.state]);
  if (!consent) return null;
  const byOAuth = consent.state !== 'none';
  const again = <Consent account={async () => { stay.value = true; return job.account; }} id={job.account} provider={consent.provider} stranger={!consent.provider || /[./]/.test(consent.provider)} onAllowed={async () => { tell(t('relogin.done')); stay.value = false; }} />;
  if (byOAuth) return <div class="relogin"><h2 class="minor">{t('consent.relogin')}</h2>{again}</div>;
  return (
    <><form class="relogin" onSubmit={submit}>
      <Field label={t('relogin')}>{(attributes) => <div class="line"><Secret {...attributes} fresh required value={password.value} onInput={(value) => (password.value = value)} />
        <Button kind="main" type="submit" busy={busy.value}>{t('relogin.do')}</Button></div>}</Field>
      <Trouble of={trouble.value} />
    </form>
    <details class="more"><summary>{t('consent.instead')}</summary>{again}</details></>
  );
}

function Now({ job }: { job: Job }) {
  const progress = job.progress;
  const running = job.state === 'running' && progress;
  const stay = useSignal(false);
  useEffect(() => {
    if (running && progress.todo_messages) say(t('progress.of', { done: count(progress.messages), n: progress.todo_messages }));
  }, [progress?.messages]);
  const trouble = job.error && ['attention', 'failing', 'waiting', 'idle', 'finished'].includes(job.state);
  return (
    <section class="card now" aria-label={t('now')}>
      <div class="now-line"><State of={job.state} />{!trouble && <Doing job={job} />}
        {running && <span class="now-speed"><Spark values={ratesOf(job.id).value} /></span>}</div>
      {running && <><Amount job={job} />{progress.mailbox && <p class="hint">{t(`phase.${progress.phase ?? 'fetching'}` as Key)} · <Foreign text={progress.mailbox} limit={200} /></p>}</>}
      {trouble && <Notice kind={['attention', 'failing'].includes(job.state) ? 'bad' : 'warn'} title={<Foreign text={job.error!} limit={1000} />}>
        {job.advice && <p><Foreign text={job.advice} limit={1000} /></p>}
        {job.failing_since && <p>{t('failing.since')} <When at={job.failing_since} /></p>}
        {job.next_run && job.state !== 'attention' && <p>{t('doing.again')} <When at={job.next_run} /></p>}</Notice>}
      {(job.state === 'attention' || stay.value) && may('write') && <Relogin job={job} stay={stay} />}
    </section>
  );
}

const kinds = ['delivered', 'pending', 'failed', 'excluded', 'gone'] as const;
/** The sums of the mailboxes: they move during a run, the job's own only after it. */
function Counts({ job, list }: { job: Job; list: Mailbox[] | undefined }) {
  const counts = { ...job.counts };
  if (list?.length)
    for (const kind of ['listed', 'octets', ...kinds] as const) counts[kind] = list.reduce((sum, one) => sum + (one.counts[kind] ?? 0), 0);
  return (
    <dl class="figures">
      <div><dt>{t('listed')}</dt><dd>{count(counts.listed)}</dd></div>
      {kinds.map((kind) => <div key={kind} class={kind === 'failed' && counts.failed ? 'wrong' : ''}><dt>{t(kind === 'delivered' ? 'here' : kind)}</dt><dd>{count(counts[kind])}</dd></div>)}
      <div><dt>{t('size')}</dt><dd>{size(counts.octets ?? 0)}</dd></div>
    </dl>
  );
}

function Held({ job, list, done }: { job: Job; list: Mailbox[]; done: Refetch }) {
  const asked = useSignal<Mailbox | null>(null);
  const held = list.filter((one) => one.held);
  if (!held.length) return null;
  return (
    <Notice kind="warn" title={t('held.title', { n: held.length })}>
      <p>{t('held.text')}</p>
      <ul class="list">{held.map((one) => (
        <li key={one.name} class="spread"><span><b><Foreign text={one.name} limit={200} /></b> <Foreign text={one.held!} limit={500} /></span>
          {may('write') && <Button small kind="danger" onClick={() => (asked.value = one)}>{t('release')}</Button>}</li>))}</ul>
      {asked.value && <Confirm title={t('release.title')} word={asked.value.name} action={t('release')} onClose={() => (asked.value = null)}
        onDone={async () => { put(await call('post', '/jobs/{id}/release', { id: job.id, body: { mailbox: asked.value!.name } })); tell(t('release.done')); done(); }}>
        <p><Foreign text={asked.value.held!} limit={1000} /></p><p>{t('release.text')}</p></Confirm>}
    </Notice>
  );
}

function useMailboxes(id: number, job: Job | undefined) {
  const turn = useSignal(0);
  const moving = job?.state === 'running';
  useEffect(() => {
    if (!moving) return;
    const timer = setInterval(() => ++turn.value, 2000);
    return () => clearInterval(timer);
  }, [moving]);
  return useRead(async () => inOrder((await call('get', '/jobs/{id}/mailboxes', { id })).items, (one) => one.name), [id, job?.state, job?.counts.delivered, job?.counts.failed, job?.held, turn.value]);
}

function Mailboxes({ job, list, trouble, again }: { job: Job; list: Mailbox[] | null; trouble: unknown; again: Refetch }) {
  if (!list) return trouble ? <Trouble of={trouble} /> : <Loading />;
  if (!list.length) return <Empty icon="mail" title={t('mailboxes.none')}><p>{t('mailboxes.none.text')}</p></Empty>;
  return (
    <>
      <Held job={job} list={list} done={again} />
      <div class="scroll" role="region" tabIndex={0} aria-label={t('mailboxes')}><table>
        <thead><tr><th scope="col">{t('mailbox')}</th><th scope="col"><span class="hidden">{t('progress')}</span></th><th scope="col" class="number">{t('listed')}</th>{kinds.map((kind) => <th key={kind} scope="col" class="number">{t(kind === 'delivered' ? 'here' : kind)}</th>)}<th scope="col" class="number">{t('size')}</th></tr></thead>
        <tbody>{list.map((one) => {
          const where = home(one.destination);
          const due = one.counts.listed - one.counts.excluded - one.counts.gone;
          return (
            <tr key={one.name}><th scope="row"><Foreign text={one.name} limit={300} />{where !== one.name && <small>→ <Foreign text={where} limit={300} /></small>}</th>
              <td class="bar-cell">{due > 0 && <Meter label={plain(one.name, 80)} value={one.counts.delivered} of={due} text={t('messages', { n: one.counts.delivered })} />}</td>
              <td class="number">{count(one.counts.listed)}</td>{kinds.map((kind) => <td key={kind} class={`number${one.counts[kind] ? (kind === 'failed' ? ' wrong' : '') : ' zero'}`}>{count(one.counts[kind])}</td>)}<td class="number">{one.counts.octets ? size(one.counts.octets) : ''}</td></tr>);
        })}</tbody>
      </table></div>
      <p class="hint">{t('mailboxes.sum')}</p>
    </>
  );
}

const messageState = signal<'failed' | 'excluded' | 'gone' | 'vanished' | 'listed' | 'delivered'>('failed');
function Messages({ job }: { job: Job }) {
  const list = useSignal<Message[]>([]);
  const next = useSignal<string | undefined>(undefined);
  const trouble = useSignal<unknown>(null);
  const ready = useSignal(false);
  const read = async (cursor?: string) => {
    try {
      const page = await call('get', '/jobs/{id}/messages', { id: job.id, query: { state: messageState.value, limit: 100, cursor } });
      list.value = cursor ? [...list.value, ...page.items] : page.items;
      next.value = page.next;
      ready.value = true;
    } catch (problem) {
      trouble.value = problem;
    }
  };
  useEffect(() => { ready.value = false; void read(); }, [job.id, messageState.value, job.counts.failed]);
  return (
    <>
      <div class="spread"><div class="chips" role="group" aria-label={t('filter')}>{(['failed', 'excluded', 'gone', 'vanished', 'listed', 'delivered'] as const).map((one) => (
        <button type="button" key={one} class="chip" aria-pressed={messageState.value === one} onClick={() => (messageState.value = one)}>{t(`message.${one}`)}</button>))}</div>
        {messageState.value === 'failed' && job.counts.failed > 0 && may('run') && <Button small icon="repeat" disabled={job.paused}
          onClick={() => act(() => call('post', '/jobs/{id}/run', { id: job.id, body: { retry_failed: true } }), t('did.retry'))}>{t('retry')}</Button>}</div>
      <Trouble of={trouble.value} />
      {!ready.value ? <Loading /> : !list.value.length ? <Empty icon="check" title={t('messages.none')} /> : (
        <ul class="messages">{list.value.map((one) => (
          <li key={`${one.mailbox}/${one.generation}/${one.uid}`}>
            <div class="spread"><b><Foreign text={one.mailbox} limit={200} /> · UID {one.uid}</b><small>{one.octets !== undefined && size(one.octets)}{one.date !== undefined && ` · ${moment(one.date)}`}</small></div>
            {one.message_id && <p class="hint"><Foreign text={one.message_id} limit={200} /></p>}
            {one.reason && <p><Foreign text={one.reason} limit={10000} /></p>}
            {one.state === 'failed' && <p class="hint">{t('attempts', { n: one.attempts ?? 0 })}{one.next_try ? <> · {t('doing.again')} <When at={one.next_try} /></> : null}</p>}
          </li>))}</ul>)}
      {next.value && <p class="buttons"><Button onClick={() => read(next.value)}>{t('more')}</Button></p>}
    </>
  );
}

function Log({ job }: { job: Job }) {
  const level = useSignal<'info' | 'warning' | 'error'>('info');
  const ranks = { info: 0, warning: 1, error: 2 };
  const lines = logOf(job.id).value.filter((one) => ranks[one.level ?? 'info'] >= ranks[level.value]);
  const text = () => lines.map((one) => `${new Date(one.at * 1000).toISOString()} ${one.level ?? 'info'} ${one.text ?? ''}`).join('\n') + '\n';
  return (
    <>
      <div class="spread"><div class="chips" role="group" aria-label={t('filter')}>{(['info', 'warning', 'error'] as const).map((one) => (
        <button type="button" key={one} class="chip" aria-pressed={level.value === one} onClick={() => (level.value = one)}>{t(`log.${one}`)}</button>))}</div>
        <Button small icon="download" disabled={!lines.length} onClick={() => save(`mailhaul-${job.id}.log`, 'text/plain', text())}>{t('download')}</Button></div>
      {lines.length ? <ol class="log" tabIndex={0} aria-label={t('log')}>{[...lines].reverse().map((one) => (
        <li key={one.id} class={one.level ?? 'info'}><time>{clock(one.at)}</time><span class="level">{t(`log.${one.level ?? 'info'}`)}</span><Foreign text={one.text ?? ''} limit={4000} /></li>))}</ol>
        : <Empty icon="queue" title={t('log.none')}><p>{t('log.none.text')}</p></Empty>}
    </>
  );
}

const runIcon = { queued: 'queue', running: 'download', complete: 'check', incomplete: 'alert', stopped: 'stop', failed: 'cross' } as const;
function Runs({ job }: { job: Job }) {
  const [page, trouble] = useRead(() => call('get', '/runs', { query: { job: job.id, limit: 200 } }), [job.id, runsOf(job.id).value]);
  const Chart = useSignal<ComponentType<{ runs: Run[] }> | null>(null);
  useEffect(() => { import('../chart').then((module) => (Chart.value = module.History), () => undefined); }, []);
  if (!page) return trouble ? <Trouble of={trouble} /> : <Loading />;
  if (!page.items.length) return <Empty icon="clock" title={t('runs.none')}><p>{t('runs.none.text')}</p></Empty>;
  const History = Chart.value;
  return (
    <>
      {History && page.items.filter((run) => run.kind === 'collect').length > 1 && <History runs={page.items.filter((run) => run.kind === 'collect')} />}
      <div class="scroll" role="region" tabIndex={0} aria-label={t('runs')}><table>
        <thead><tr><th scope="col">{t('run.started')}</th><th scope="col">{t('run.kind')}</th><th scope="col">{t('run.state')}</th><th scope="col" class="number">{t('run.took')}</th><th scope="col" class="number">{t('run.delivered')}</th><th scope="col" class="number">{t('size')}</th><th scope="col" class="number">{t('failed')}</th></tr></thead>
        <tbody>{page.items.map((run) => (
          <tr key={run.id}><th scope="row">{moment(run.started)}</th><td>{t(`kind.${run.kind}`)} <small>{t(`trigger.${run.trigger}`)}</small></td>
            <td class={run.state === 'failed' || run.state === 'incomplete' ? 'wrong' : ''}><Icon of={runIcon[run.state]} /> {t(`run.${run.state}`)}{run.error && <small><Foreign text={run.error} limit={300} /></small>}</td>
            <td class="number">{run.ended ? span(run.ended - run.started) : ''}</td><td class="number">{count(run.delivered ?? 0)}</td><td class="number">{run.octets ? size(run.octets) : ''}</td><td class={run.failed ? 'number wrong' : 'number zero'}>{count(run.failed ?? 0)}</td></tr>))}</tbody>
      </table></div>
    </>
  );
}

function Verify({ job }: { job: Job }) {
  const deep = useSignal(false);
  const busy = useSignal(false);
  const trouble = useSignal<unknown>(null);
  const [page, , again] = useRead(() => call('get', '/runs', { query: { job: job.id, limit: 100 } }), [job.id, runsOf(job.id).value]);
  const newest = page?.items.find((run) => run.kind === 'verify');
  const [run] = useRead(async () => (newest ? readRun(newest.id) : null), [newest?.id, newest?.state]);
  const begin = async () => {
    busy.value = true;
    trouble.value = null;
    try {
      const made = await call('post', '/jobs/{id}/verify', { id: job.id, body: { deep: deep.value } });
      await readRun(made.id);
      again();
    } catch (problem) {
      trouble.value = problem;
    }
    busy.value = false;
  };
  return (
    <>
      <p class="lead">{t('verify.lead')}</p>
      {may('run') && <fieldset class="options side"><legend class="hidden">{t('verify')}</legend>
        {[false, true].map((one) => <label key={String(one)} class="option"><input type="radio" name="deep" checked={deep.value === one} onChange={() => (deep.value = one)} />
          <span><strong>{t(one ? 'verify.deep' : 'verify.quick')}</strong><small>{t(one ? 'verify.deep.hint' : 'verify.quick.hint')}</small></span></label>)}</fieldset>}
      {may('run') && <p class="buttons"><Button kind="main" icon="shield" busy={busy.value} onClick={begin}>{t('verify.do')}</Button></p>}
      {busy.value && <p class="loading" role="status">{t('verify.going')}</p>}
      <Trouble of={trouble.value} />
      {run && !busy.value && <><h2 class="minor">{t('verify.last')} <When at={run.ended ?? run.started} /></h2><Verification run={run} /></>}
    </>
  );
}

const tabs = ['', 'messages', 'log', 'runs', 'verify', 'settings'] as const;
export function JobPage() {
  const [, number, tab = ''] = parts();
  const id = Number(number);
  const trouble = useSignal<unknown>(null);
  const ending = useSignal(false);
  useEffect(() => { loadJob(id).catch((problem) => (trouble.value = problem)); }, [id]);
  void ids.value;  // a job that is not here yet appears with the list
  const job = jobs.get(id)?.value;
  const [mailboxes, unread, again] = useMailboxes(id, job);
  if (!job) return trouble.value ? <><Title text={t('lost')} /><Trouble of={trouble.value} /><a class="button plain" href="#/">{t('nav.home')}</a></> : <Loading />;
  const here = `/jobs/${id}`;
  return (
    <>
      <p class="crumbs"><a href="#/">{t('nav.accounts')}</a></p>
      <div class="head-line"><div class="named"><Title text={plain(job.account_name, 80)}><Foreign text={job.account_name} limit={200} /></Title>
        <p class="route"><Foreign text={job.source} limit={300} /> <Icon of="arrow" /> <Foreign text={below(job.destination_path)} limit={300} /></p></div><Actions job={job} /></div>
      <Now job={job} />
      <Counts job={job} list={mailboxes ?? undefined} />
      <Tabs label={t('tabs')} at={tab ? `${here}/${tab}` : here} items={tabs.map((one) => ({ to: one ? `${here}/${one}` : here, text: t(one ? `tab.${one}` : 'mailboxes'), mark: one === 'messages' ? job.counts.failed : one === '' ? job.held : 0 }))} />
      <div class="tab">
        {tab === '' && <Mailboxes job={job} list={mailboxes} trouble={unread} again={again} />}{tab === 'messages' && <Messages job={job} />}{tab === 'log' && <Log job={job} />}
        {tab === 'runs' && <Runs job={job} />}{tab === 'verify' && <Verify job={job} />}
        {tab === 'settings' && <><Settings id={id} key={id} />{may('write') && <section class="card danger-zone"><h2 class="minor">{t('end')}</h2><p>{t('end.text')}</p><Button kind="danger" onClick={() => (ending.value = true)}>{t('end.do')}</Button></section>}</>}
      </div>
      {ending.value && <Confirm title={t('end')} word={job.account_name} action={t('end.do')} onClose={() => (ending.value = false)}
        onDone={async () => { await call('delete', '/accounts/{id}', { id: job.account }); drop(id); go('/'); }}><p>{t('end.text')}</p></Confirm>}
    </>
  );
}
