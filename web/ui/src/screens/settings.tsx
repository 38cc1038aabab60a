// Rules, schedule and login of one job. What is typed here stays until it is saved, whatever happens outside.
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { call, etagOf, Problem, type Account, type Job, type Policy, type Schedule } from '../api';
import { t } from '../i18n';
import { put } from '../state';
import { Button, Field, Loading, may, Secret, tell, Trouble } from '../ui';

const lines = (text: string) => text.split('\n').map((line) => line.trim()).filter(Boolean);
const drafts = new Map<number, { job: Job; policy: Policy; schedule: Schedule; texts: { include: string; exclude: string; map: string; quirks: string; megabytes: string } }>();

function draftOf(job: Job) {
  const { policy, schedule } = job;
  return {
    job, policy, schedule, texts: {
      include: (policy.include ?? []).join('\n'), exclude: (policy.exclude ?? []).join('\n'), map: (policy.map ?? []).join('\n'),
      quirks: (policy.quirks ?? []).join('\n'), megabytes: policy.max_size ? String(policy.max_size / 1e6) : '',
    },
  };
}

export function Settings({ id }: { id: number }) {
  const draft = useSignal(drafts.get(id) ?? null);
  const busy = useSignal(false);
  const trouble = useSignal<unknown>(null);
  const read = async () => (draft.value = draftOf(await call('get', '/jobs/{id}', { id })));
  useEffect(() => { if (!draft.value) read().catch((problem) => (trouble.value = problem)); }, []);
  const now = draft.value;
  if (!now) return trouble.value ? <Trouble of={trouble.value} /> : <Loading />;
  const keep = (next: typeof now) => { draft.value = next; drafts.set(id, next); };
  const rule = (part: Partial<Policy>) => keep({ ...now, policy: { ...now.policy, ...part } });
  const text = (part: Partial<typeof now.texts>) => keep({ ...now, texts: { ...now.texts, ...part } });
  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy.value) return;
    busy.value = true;
    trouble.value = null;
    const policy: Policy = { ...now.policy, include: lines(now.texts.include), exclude: lines(now.texts.exclude), map: lines(now.texts.map),
      quirks: lines(now.texts.quirks), max_size: Math.round(Number(now.texts.megabytes.replace(',', '.')) * 1e6) || 0 };
    try {
      const saved = await call('patch', '/jobs/{id}', { id, body: { policy, schedule: now.schedule }, etag: etagOf(now.job) });
      put(saved);
      drafts.delete(id);
      await read();
      tell(t('saved'));
    } catch (problem) {
      trouble.value = problem;
      // The rules of the other person are read, ours stay in the form: saving again is a decision.
      if (problem instanceof Problem && problem.status === 412) keep({ ...now, job: await call('get', '/jobs/{id}', { id }) });
    }
    busy.value = false;
  };
  const { policy, schedule, texts } = now;
  const area = (name: 'include' | 'exclude' | 'map' | 'quirks', placeholder: string) => (
    <Field label={t(`rules.${name}`)} hint={t(`rules.${name}.hint`)}>{(attributes) => <textarea {...attributes} class="code" rows={3} spellcheck={false} placeholder={placeholder} value={texts[name]} onInput={(event) => text({ [name]: event.currentTarget.value })} />}</Field>);
  return (
    <>
      <form class="card" onSubmit={submit}>
        <fieldset class="bare" disabled={!may('write')}>
          <h2 class="minor">{t('schedule')}</h2>
          <div class="grid">
            <Field label={t('schedule.kind')}>{(attributes) => <select {...attributes} value={schedule.kind} onChange={(event) => keep({ ...now, schedule: { kind: event.currentTarget.value as Schedule['kind'], minutes: 15, hours: [2] } })}>
              {(['every', 'push', 'hours', 'once'] as const).map((one) => <option key={one} value={one}>{t(`schedule.${one}`)}</option>)}</select>}</Field>
            {(schedule.kind === 'every' || schedule.kind === 'push') && <Field label={t('minutes')}>{(attributes) => <input {...attributes} type="number" min={1} max={10080} required value={schedule.minutes ?? 15} onInput={(event) => keep({ ...now, schedule: { kind: schedule.kind, minutes: Number(event.currentTarget.value) } })} />}</Field>}
            {schedule.kind === 'hours' && <Field label={t('hours')} hint={t('hours.hint')}>{(attributes) => <input {...attributes} required pattern="[0-9 ,]+" value={(schedule.hours ?? []).join(', ')} onChange={(event) => keep({ ...now, schedule: { kind: 'hours', hours: [...new Set(event.currentTarget.value.split(/[ ,]+/).filter(Boolean).map(Number))].filter((one) => one >= 0 && one < 24) } })} />}</Field>}
          </div>
          <h2 class="minor">{t('rules')}</h2>
          <div class="grid">
            {area('include', 'INBOX\nWork/*')}{area('exclude', 'Junk\nTrash')}{area('map', 'Old/Sent=Sent')}
            <Field label={t('vanish')} hint={t(`vanish.${policy.on_source_delete ?? 'keep'}.text`)}>{(attributes) => <select {...attributes} value={policy.on_source_delete ?? 'keep'} onChange={(event) => rule({ on_source_delete: event.currentTarget.value as 'keep' })}>
              {(['keep', 'flag', 'remove'] as const).map((one) => <option key={one} value={one}>{t(`vanish.${one}`)}</option>)}</select>}</Field>
            {policy.on_source_delete === 'remove' && <Field label={t('grace')}>{(attributes) => <input {...attributes} type="number" min={0} max={3650} value={policy.grace_days ?? 7} onInput={(event) => rule({ grace_days: Number(event.currentTarget.value) })} />}</Field>}
            <Field label={t('since')} hint={t('since.hint')}>{(attributes) => <input {...attributes} type="date" value={policy.since ?? ''} onInput={(event) => rule({ since: event.currentTarget.value })} />}</Field>
            <Field label={t('biggest')} hint={t('biggest.hint')}>{(attributes) => <input {...attributes} inputMode="decimal" pattern="[0-9]*([.,][0-9]+)?" value={texts.megabytes} onInput={(event) => text({ megabytes: event.currentTarget.value })} />}</Field>
          </div>
          <label class="check"><input type="checkbox" checked={policy.special_use ?? true} onChange={(event) => rule({ special_use: event.currentTarget.checked })} /><span>{t('special')}<small>{t('special.hint')}</small></span></label>
          <label class="check"><input type="checkbox" checked={policy.all_namespaces ?? false} onChange={(event) => rule({ all_namespaces: event.currentTarget.checked })} /><span>{t('namespaces')}</span></label>
          <label class="check"><input type="checkbox" checked={policy.newest_first ?? false} onChange={(event) => rule({ newest_first: event.currentTarget.checked })} /><span>{t('newest')}<small>{t('newest.hint')}</small></span></label>
          <label class="check"><input type="checkbox" checked={!!policy.contacts} onChange={(event) => rule({ contacts: event.currentTarget.checked ? 'found' : '' })} /><span>{t('contacts')}<small>{t('contacts.hint')}</small></span></label>
          {policy.contacts && <Field label={t('contacts.url')}>{(attributes) => <input {...attributes} type="url" pattern="https://.+" maxLength={1000} value={policy.contacts === 'found' ? '' : policy.contacts} onInput={(event) => rule({ contacts: event.currentTarget.value.trim() || 'found' })} />}</Field>}
          <details class="more"><summary>{t('add.expert')}</summary><div class="grid">
            <Field label={t('connections')}>{(attributes) => <input {...attributes} type="number" min={1} max={16} value={policy.connections ?? 1} onInput={(event) => rule({ connections: Number(event.currentTarget.value) })} />}</Field>
            {area('quirks', '+no-examine')}</div></details>
        </fieldset>
        <Trouble of={trouble.value} />
        {may('write') && <footer>{drafts.has(id) && <Button onClick={() => { drafts.delete(id); trouble.value = null; void read(); }}>{t('undo')}</Button>}<Button kind="main" type="submit" busy={busy.value}>{t('save')}</Button></footer>}
      </form>
      {may('write') && <Login account={now.job.account} />}
    </>
  );
}

function Login({ account }: { account: number }) {
  const found = useSignal<Account | null>(null);
  const source = useSignal('');
  const name = useSignal('');
  const password = useSignal('');
  const busy = useSignal(false);
  const trouble = useSignal<unknown>(null);
  useEffect(() => {
    call('get', '/accounts/{id}', { id: account }).then((one) => { found.value = one; source.value = one.source; name.value = one.name; }, (problem) => (trouble.value = problem));
  }, [account]);
  if (!found.value) return <Trouble of={trouble.value} />;
  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy.value) return;
    busy.value = true;
    trouble.value = null;
    try {
      const before = found.value!;
      found.value = await call('patch', '/accounts/{id}', { id: account, etag: etagOf(before), body: {
        ...(name.value !== before.name && { name: name.value }), ...(source.value !== before.source && { source: source.value }), ...(password.value && { password: password.value }) } });
      password.value = '';
      tell(t('saved'));
    } catch (problem) {
      trouble.value = problem;
    }
    busy.value = false;
  };
  return (
    <form class="card" onSubmit={submit}>
      <h2 class="minor">{t('settings.login')}</h2>
      <div class="grid">
        <Field label={t('name')}>{(attributes) => <input {...attributes} required maxLength={200} value={name.value} onInput={(event) => (name.value = event.currentTarget.value)} />}</Field>
        <Field label={t('settings.source')} hint={t('settings.source.hint')}>{(attributes) => <input {...attributes} required class="code" spellcheck={false} value={source.value} onInput={(event) => (source.value = event.currentTarget.value)} />}</Field>
        <Field label={t('add.password')} hint={t('settings.password.hint')}>{(attributes) => <Secret {...attributes} fresh value={password.value} onInput={(value) => (password.value = value)} />}</Field>
      </div>
      <Trouble of={trouble.value} />
      <footer><Button type="submit" busy={busy.value}>{t('save')}</Button></footer>
    </form>
  );
}
