import { computed, signal, useComputed, useSignal } from '@preact/signals';
import { Component } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { call, type Job, type JobState } from '../api';
import { count, now, rate, size, span } from '../format';
import { t, type Key } from '../i18n';
import { go } from '../router';
import { below, changes, ids, jobs, loaded, put, ratesOf } from '../state';
import { Button, complain, Empty, Foreign, Icon, Loading, may, Meter, say, Spark, State, tell, Title, When } from '../ui';

type Sort = 'state' | 'name' | 'messages' | 'size' | 'recent';
const wanted = signal('');
const only = signal<JobState | 'trouble' | ''>('');
const sort = signal<Sort>('state');
const picked = signal<ReadonlySet<number>>(new Set());

const troubled = (job: Job) => job.state === 'attention' || job.state === 'failing' || !!job.held;
const weight: Record<JobState, number> = { attention: 0, failing: 1, running: 2, waiting: 3, queued: 4, idle: 5, finished: 6, paused: 7 };
const urgency = (job: Job) => (troubled(job) ? Math.min(1, weight[job.state]) : weight[job.state]);
export const deliveredOf = (job: Job) => job.counts.delivered;

const order: Record<Sort, (a: Job, b: Job) => number> = {
  state: (a, b) => urgency(a) - urgency(b) || names.compare(a.account_name, b.account_name),
  name: (a, b) => names.compare(a.account_name, b.account_name),
  messages: (a, b) => b.counts.delivered - a.counts.delivered,
  size: (a, b) => (b.counts.octets ?? 0) - (a.counts.octets ?? 0),
  recent: (a, b) => (b.last_success ?? 0) - (a.last_success ?? 0),
};
const names = new Intl.Collator(undefined, { numeric: true });

// Looks at the jobs again when one was added, removed or changed its state, not with every progress.
const shown = computed(() => {
  void changes.value;
  const text = wanted.value.trim().toLowerCase();
  const found: Job[] = [];
  for (const id of ids.value) {
    const job = jobs.get(id)!.peek();
    if (only.value === 'trouble' ? !troubled(job) : only.value && job.state !== only.value) continue;
    if (text && !`${job.account_name}\n${job.source}\n${job.destination_path}\n${job.error ?? ''}`.toLowerCase().includes(text)) continue;
    found.push(job);
  }
  return found.sort((a, b) => order[sort.value](a, b) || a.id - b.id).map((job) => job.id);
});

const totals = computed(() => {
  void changes.value;
  const sum = { delivered: 0, octets: 0, trouble: 0, running: 0, states: {} as Partial<Record<JobState, number>> };
  for (const id of ids.value) {
    const job = jobs.get(id)!.peek();
    sum.delivered += job.counts.delivered;
    sum.octets += job.counts.octets ?? 0;
    sum.trouble += troubled(job) ? 1 : 0;
    sum.running += job.state === 'running' ? 1 : 0;
    sum.states[job.state] = (sum.states[job.state] ?? 0) + 1;
  }
  return sum;
});

async function each(list: number[], what: (id: number) => Promise<Job>, done: Key) {
  let good = 0;
  const queue = [...list];
  const worker = async () => {
    for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
      try {
        put(await what(id));
        ++good;
      } catch (problem) {
        complain(problem);
      }
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  if (good) {
    tell(t(done, { n: good }));
    say(t(done, { n: good }), true);
  }
}
const setPaused = (list: number[], paused: boolean) =>
  each(list, (id) => call('patch', '/jobs/{id}', { id, body: { paused } }), paused ? 'did.paused' : 'did.resumed');
const runNow = (list: number[]) => each(list, (id) => call('post', '/jobs/{id}/run', { id, body: { retry_failed: false } }), 'did.run');

/** What is going on, in a line: the honest end of a run, or the reason why nothing moves. */
export function Doing({ job }: { job: Job }) {
  const progress = job.progress;
  // A run that waits for its server, with the reason.
  if (job.state === 'waiting' && progress?.waiting) return <span class="doing warn"><Foreign text={progress.waiting} limit={300} /></span>;
  if (job.error && (['attention', 'failing', 'waiting', 'idle', 'finished'].includes(job.state)))
    return <span class={['attention', 'failing'].includes(job.state) ? 'doing bad' : 'doing warn'}><Foreign text={job.error} limit={300} /><span class="advice">{job.advice && <Foreign text={job.advice} limit={300} />}
      {job.state !== 'attention' && job.next_run ? <> {t('doing.again')} <When at={job.next_run} /></> : null}</span></span>;
  if (job.held) return <span class="doing warn">{t('held', { n: job.held })}</span>;
  if (job.state === 'running' && progress) {
    if (progress.waiting) return <span class="doing warn"><Foreign text={progress.waiting} limit={300} /></span>;
    const bits = [];
    if (progress.octets_per_second) bits.push(rate(progress.octets_per_second));
    if (progress.eta && progress.eta > now.value) bits.push(t('left', { span: span(progress.eta - now.value) }));
    else bits.push(t(`phase.${progress.phase ?? 'connecting'}` as Key));
    return <span class="doing">{bits.join(' · ')}</span>;
  }
  if (job.state === 'queued') return <span class="doing">{t('doing.queued')}</span>;
  if (job.state === 'paused') return <span class="doing">{t('doing.paused')}</span>;
  if (job.state === 'waiting') return <span class="doing warn">{job.next_run ? <>{t('doing.again')} <When at={job.next_run} /></> : t('state.waiting')}</span>;
  return <span class="doing">{job.last_success ? <>{t('doing.looked')} <When at={job.last_success} /></> : t('doing.never')}
    {job.state === 'idle' && job.next_run ? <> · {t('doing.next')} <When at={job.next_run} /></> : null}</span>;
}

export function Amount({ job }: { job: Job }) {
  const { counts, progress } = job;
  if (job.state === 'running' && progress && (progress.todo_messages || progress.messages)) {
    const bytes = !!progress.todo_octets;
    const text = progress.todo_messages
      ? t('progress.of', { done: count(progress.messages), n: progress.todo_messages })
      : t('messages', { n: progress.messages });
    return (
      <div class="amount">
        <span><b>{text}</b> <small>{progress.todo_octets ? t('of', { done: size(progress.octets), all: size(progress.todo_octets) }) : size(progress.octets)}</small></span>
        <Meter label={job.account_name} value={bytes ? progress.octets : progress.messages} of={bytes ? progress.todo_octets! : (progress.todo_messages ?? 0)} text={text} />
      </div>
    );
  }
  return (
    <div class="amount">
      <span><b>{t('messages', { n: counts.delivered })}</b> <small>{counts.octets ? size(counts.octets) : ''}</small></span>
      {counts.failed > 0 && <small class="wrong">{t('count.failed', { n: counts.failed })}</small>}
      {counts.pending > 0 && counts.failed === 0 && <small>{t('count.pending', { n: counts.pending })}</small>}
    </div>
  );
}

function Row({ id }: { id: number }) {
  const job = jobs.get(id)?.value;
  const chosen = useComputed(() => picked.value.has(id));
  if (!job) return null;
  const act = may('write');
  return (
    <div role="row" class={`row ${troubled(job) ? 'trouble' : ''}`} data-job={id}>
      <span role="cell" class="pick"><input type="checkbox" aria-label={t('select', { name: job.account_name })} checked={chosen.value} onChange={() => toggle(id)} /></span>
      <span role="cell" class="name"><a href={`#/jobs/${id}`} data-row><Foreign text={job.account_name} limit={200} /></a>
        <small><Foreign text={job.source.replace(/^\w+:\/\//, '').replace(/^.*@/, '')} limit={120} /> <Icon of="arrow" /> <Foreign text={below(job.destination_path)} limit={160} /></small></span>
      <span role="cell" class="what"><State of={job.state} /><Doing job={job} /></span>
      <span role="cell" class="much"><Amount job={job} /></span>
      <span role="cell" class="speed">{job.state === 'running' && <Spark values={ratesOf(id).value} />}</span>
      <span role="cell" class="acts">{act && (job.paused
        ? <Button kind="quiet" icon="play" aria-label={t('resume.one', { name: job.account_name })} title={t('resume')} onClick={() => setPaused([id], false)} />
        : <Button kind="quiet" icon="pause" aria-label={t('pause.one', { name: job.account_name })} title={t('pause')} onClick={() => setPaused([id], true)} />)}</span>
    </div>
  );
}

function toggle(id: number) {
  const next = new Set(picked.value);
  if (!next.delete(id)) next.add(id);
  picked.value = next;
}

// Rows come in portions between frames: thousands of them never hold up a key or a tap. A portion that is the same as
// before keeps its array, and is not looked at again.
const PORTION = 40;
let portionsBefore: number[][] = [];
const portions = computed(() => {
  const made: number[][] = [];
  for (let at = 0; at < shown.value.length; at += PORTION) {
    const part = shown.value.slice(at, at + PORTION);
    const before = portionsBefore[made.length];
    made.push(before?.length === part.length && part.every((id, index) => id === before[index]) ? before : part);
  }
  return (portionsBefore = made);
});
class Portion extends Component<{ list: number[] }> {
  shouldComponentUpdate(next: { list: number[] }) {
    return next.list !== this.props.list;
  }
  render() {
    return this.props.list.map((id) => <Row key={id} id={id} />);
  }
}

/** A row that moves because its state changed takes the focus along. */
function useFocusKept(list: number[]) {
  const place = useRef<HTMLDivElement>(null);
  const held = useRef<{ id: string; what: string } | null>(null);
  useEffect(() => {
    const element = place.current!;
    const gained = (event: FocusEvent) => {
      const target = event.target as HTMLElement;
      const id = target.closest<HTMLElement>('[data-job]')?.dataset.job;
      held.current = id ? { id, what: target.tagName } : null;
    };
    const lost = (event: FocusEvent) => { if (event.relatedTarget) held.current = null; };
    const pressed = () => { if (!element.contains(document.activeElement)) held.current = null; };
    element.addEventListener('focusin', gained);
    element.addEventListener('focusout', lost);
    addEventListener('pointerdown', pressed);
    return () => removeEventListener('pointerdown', pressed);
  }, []);
  useLayoutEffect(() => {
    if (held.current && document.activeElement === document.body)
      place.current?.querySelector<HTMLElement>(`[data-job="${held.current.id}"] ${held.current.what}`)?.focus({ preventScroll: true });
  }, [list]);
  return place;
}

function Rows() {
  const upTo = useSignal(1);
  const list = shown.value;
  const parts = portions.value;
  const place = useFocusKept(list);
  useEffect(() => {
    if (upTo.value >= parts.length) return;
    const timer = setTimeout(() => ++upTo.value, 16);
    return () => clearTimeout(timer);
  }, [upTo.value, parts.length]);
  const all = list.length > 0 && list.every((id) => picked.value.has(id));
  return (
    <div role="table" aria-label={t('nav.accounts')} aria-rowcount={list.length + 1} class="rows">
      <div role="rowgroup"><div role="row" class="row head">
        <span role="columnheader" class="pick"><input type="checkbox" aria-label={t('select.all')} checked={all}
          onChange={() => (picked.value = all ? new Set() : new Set(list))} /></span>
        <span role="columnheader">{t('column.account')}</span><span role="columnheader">{t('column.state')}</span>
        <span role="columnheader">{t('column.mail')}</span><span role="columnheader" class="speed">{t('column.speed')}</span>
        <span role="columnheader"><span class="hidden">{t('column.actions')}</span></span>
      </div></div>
      <div role="rowgroup" ref={place}>{parts.slice(0, upTo.value).map((part, at) => <Portion key={at} list={part} />)}</div>
    </div>
  );
}

function useKeys(search: { current: HTMLInputElement | null }) {
  useEffect(() => {
    const rows = () => [...document.querySelectorAll<HTMLElement>('[data-row]')];
    const here = () => Number(document.activeElement?.closest<HTMLElement>('[data-job]')?.dataset.job) || 0;
    const move = (step: number) => {
      const list = rows();
      const at = list.findIndex((row) => row.closest('[data-job]')?.contains(document.activeElement));
      const next = list[at < 0 ? (step > 0 ? 0 : list.length - 1) : Math.max(0, Math.min(list.length - 1, at + step))];
      next?.focus();
      next?.scrollIntoView({ block: 'nearest' });
    };
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
      const target = event.target as HTMLElement;
      if (target === search.current && event.key === 'Escape') {
        wanted.value = '';
        search.current.blur();
      }
      if (target.matches('input:not([type=checkbox]), textarea, select')) return;
      if (event.key === '/') search.current?.focus();
      else if (event.key === 'j' || event.key === 'k') move(event.key === 'j' ? 1 : -1);
      else if (event.key === 'x' && here()) toggle(here());
      else if (event.key === 'p' && may('write') && (picked.value.size || here())) {
        const list = picked.value.size ? [...picked.value] : [here()];
        void setPaused(list, !list.every((id) => jobs.get(id)?.peek().paused));
      } else return;
      event.preventDefault();
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);
}

function Summary() {
  const sum = totals.value;
  const text = sum.trouble ? t('summary.trouble', { n: sum.trouble }) : sum.running ? t('summary.running', { n: sum.running }) : t('summary.well');
  return (
    <div class="summary">
      <Title text={t('nav.accounts')}>{text}</Title>
      <p class="lead">{t('summary.home', { n: sum.delivered, size: size(sum.octets), accounts: t('accounts', { n: ids.value.length }) })}</p>
    </div>
  );
}

function Filters({ search }: { search: { current: HTMLInputElement | null } }) {
  const sum = totals.value;
  const kinds: [JobState | 'trouble' | '', number][] = [['', ids.value.length], ['trouble', sum.trouble],
    ...(['running', 'waiting', 'queued', 'idle', 'paused', 'finished'] as const).map((state) => [state, sum.states[state] ?? 0] as [JobState, number])];
  return (
    <div class="filters">
      <label class="find"><span class="hidden">{t('search')}</span><Icon of="search" />
        <input ref={search} type="search" placeholder={t('search')} value={wanted.value} onInput={(event) => (wanted.value = event.currentTarget.value)} /></label>
      <div class="chips" role="group" aria-label={t('filter')}>
        {kinds.filter(([kind, n]) => kind === '' || n > 0 || only.value === kind).map(([kind, n]) => (
          <button type="button" key={kind} class="chip" aria-pressed={only.value === kind} onClick={() => (only.value = kind)}>
            {kind === '' ? t('all') : kind === 'trouble' ? t('filter.trouble') : t(`state.${kind}` as Key)} <b>{count(n)}</b></button>
        ))}
      </div>
      <label class="sort">{t('sort')} <select value={sort.value} onChange={(event) => (sort.value = event.currentTarget.value as Sort)}>
        {(['state', 'name', 'messages', 'size', 'recent'] as const).map((key) => <option key={key} value={key}>{t(`sort.${key}`)}</option>)}
      </select></label>
    </div>
  );
}

export function Overview() {
  const search = useRef<HTMLInputElement>(null);
  useKeys(search);
  if (!loaded.value) return <Loading />;
  if (ids.value.length === 0)
    return (
      <div class="welcome">
        <Empty icon="mail" title=""><Title text={t('welcome')} /><p class="lead">{t('welcome.text')}</p>
          {may('write') && <p class="buttons"><a class="button main" href="#/add"><Icon of="plus" /><span>{t('add')}</span></a><a class="button plain" href="#/import"><span>{t('import')}</span></a></p>}
        </Empty>
      </div>
    );
  const chosen = [...picked.value].filter((id) => jobs.has(id));
  return (
    <>
      <div class="head-line">
        <Summary />
        {may('write') && <div class="buttons"><a class="button plain" href="#/import"><span>{t('import')}</span></a><Button kind="main" icon="plus" onClick={() => go('/add')}>{t('add')}</Button></div>}
      </div>
      <Filters search={search} />
      {shown.value.length ? <Rows /> : <Empty icon="search" title={t('nothing')}><Button onClick={() => { wanted.value = ''; only.value = ''; }}>{t('nothing.clear')}</Button></Empty>}
      {chosen.length > 0 && may('write') && (
        <div class="bulk" role="region" aria-label={t('selected', { n: chosen.length })}>
          <b>{t('selected', { n: chosen.length })}</b>
          <Button small icon="pause" onClick={() => setPaused(chosen, true)}>{t('pause')}</Button>
          <Button small icon="play" onClick={() => setPaused(chosen, false)}>{t('resume')}</Button>
          <Button small icon="repeat" onClick={() => runNow(chosen)}>{t('run')}</Button>
          <Button small kind="quiet" icon="cross" onClick={() => (picked.value = new Set())}>{t('clear')}</Button>
        </div>
      )}
    </>
  );
}
