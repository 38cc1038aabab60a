// Who is told of what happens: webhooks, ntfy topics, mail.
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { all, call, freshKey, type Channel } from '../api';
import { t } from '../i18n';
import { Button, complain, Empty, Field, Foreign, Icon, Loading, may, Notice, Secret, tell, Trouble, When } from '../ui';

const topics = ['finished', 'failing', 'needs_login', 'held', 'disk_low'] as const;
type Kind = Channel['kind'];
type Said = { ok: boolean; detail?: string; advice?: string };
const blank = { name: '', url: '', from: '', to: '', secret: '', ca: '', plaintext: false, everyone: false };
const examples: Record<Kind, string> = { webhook: 'https://hooks.example.org/mailhaul', ntfy: 'https://ntfy.sh/topic', mail: 'smtps://me@example.org@smtp.example.org' };

export function Channels() {
  const list = useSignal<Channel[] | null>(null);
  const trouble = useSignal<unknown>(null);
  const secret = useSignal('');
  const read = () => all<Channel>((cursor) => call('get', '/channels', { query: { cursor } })).then((found) => (list.value = found), (problem) => (trouble.value = problem));
  useEffect(() => void read(), []);
  const remove = async (id: number) => {
    try { await call('delete', '/channels/{id}', { id }); } catch (problem) { complain(problem); }
    void read();
  };
  return (
    <>
      <p class="lead">{t('channels.lead')}</p>
      {secret.value && <Notice kind="good" role="status" title={t('channels.secret.made')}><p><code class="secret-text">{secret.value}</code></p><p class="buttons"><Button small icon="copy" onClick={() => navigator.clipboard?.writeText(secret.value).then(() => tell(t('copied')), complain)}>{t('copy')}</Button><Button small kind="quiet" onClick={() => (secret.value = '')}>{t('close')}</Button></p></Notice>}
      <Trouble of={trouble.value} />
      {!list.value ? !trouble.value && <Loading /> : !list.value.length ? <Empty icon="mail" title={t('channels.none')} />
        : <ul class="list cards">{list.value.map((one) => <Line key={one.id} of={one} again={read} remove={() => remove(one.id)} />)}</ul>}
      {may('write') && <Add onMade={(made) => { secret.value = made.secret ?? ''; void read(); }} />}
    </>
  );
}

function Line({ of, again, remove }: { of: Channel; again: () => unknown; remove: () => unknown }) {
  const said = useSignal<Said | null>(null);
  const busy = useSignal(false);
  const test = async () => {
    busy.value = true;
    said.value = null;
    try { said.value = await call('post', '/channels/{id}/test', { id: of.id }); } catch (problem) { complain(problem); }
    busy.value = false;
    again();
  };
  return (
    <li><div class="spread"><span><b><Foreign text={of.name} limit={200} /></b> <small>{t(`channels.${of.kind}`)}{of.everyone && ` · ${t('channels.everyone')}`}</small><br />
      <code><Foreign text={of.to ? `${of.to} · ${of.url}` : of.url} limit={400} /></code><br />
      <small>{of.topics.length === topics.length ? t('channels.all') : of.topics.map((one) => t(`topic.${one}`)).join(' · ')}</small><br />
      <small>{of.told ? <><Icon of="check" /> {t('channels.told')} <When at={of.told} /></> : t('channels.untold')}</small></span>
      {may('write') && <span class="buttons"><Button small busy={busy.value} aria-label={t('channels.test.one', { name: of.name })} onClick={test}>{t('channels.test')}</Button>
        <Button small kind="quiet" icon="cross" aria-label={t('places.forget', { name: of.name })} onClick={remove} /></span>}</div>
      {said.value ? <Notice kind={said.value.ok ? 'good' : 'bad'} role={said.value.ok ? 'status' : 'alert'} title={said.value.ok ? t('channels.test.good') : <Foreign text={said.value.detail ?? t('channels.failed')} limit={500} />}>
        {said.value.advice && <Foreign text={said.value.advice} limit={500} />}</Notice>
        : of.error && <Notice kind="bad" title={t('channels.failed')}><Foreign text={of.error} limit={500} /></Notice>}</li>
  );
}

function Add({ onMade }: { onMade: (made: Channel) => void }) {
  const kind = useSignal<Kind>('webhook');
  const form = useSignal(blank);
  const chosen = useSignal<ReadonlySet<(typeof topics)[number]>>(new Set(topics));
  const busy = useSignal(false);
  const trouble = useSignal<unknown>(null);
  const set = (part: Partial<typeof blank>) => (form.value = { ...form.value, ...part });
  const f = form.value;
  const mail = kind.value === 'mail';
  const make = async (event: Event) => {
    event.preventDefault();
    if (busy.value) return;
    busy.value = true;
    trouble.value = null;
    try {
      const made = await call('post', '/channels', { key: freshKey(), body: {
        kind: kind.value, url: f.url.trim(), topics: [...chosen.value], ...(f.name.trim() && { name: f.name.trim() }), ...(f.secret && { secret: f.secret }),
        ...(mail && { from: f.from.trim(), to: f.to.trim() }), ...(f.ca.trim() && { ca: f.ca }), ...(f.plaintext && { allow_plaintext: true }), ...(f.everyone && { everyone: true }) } });
      form.value = blank;
      onMade(made);
    } catch (problem) {
      trouble.value = problem;
    }
    busy.value = false;
  };
  return (
    <form class="card" onSubmit={make}><h2 class="minor">{t('channels.add')}</h2>
      <div class="grid">
        <Field label={t('channels.kind')} hint={t(`channels.${kind.value}.hint`)}>{(attributes) => <select {...attributes} value={kind.value} onChange={(event) => (kind.value = event.currentTarget.value as Kind)}>
          {(['webhook', 'ntfy', 'mail'] as const).map((one) => <option key={one} value={one}>{t(`channels.${one}`)}</option>)}</select>}</Field>
        <Field label={t(mail ? 'channels.server' : 'channels.url')}>{(attributes) => <input {...attributes} required maxLength={1000} spellcheck={false} autoCapitalize="off" placeholder={examples[kind.value]} value={f.url} onInput={(event) => set({ url: event.currentTarget.value })} />}</Field>
        {mail && <><Field label={t('channels.from')}>{(attributes) => <input {...attributes} type="email" required value={f.from} onInput={(event) => set({ from: event.currentTarget.value })} />}</Field>
          <Field label={t('channels.to')}>{(attributes) => <input {...attributes} type="email" required value={f.to} onInput={(event) => set({ to: event.currentTarget.value })} />}</Field></>}
        <Field label={t(mail ? 'password' : kind.value === 'ntfy' ? 'channels.token' : 'channels.secret')} hint={kind.value === 'webhook' ? t('channels.secret.hint') : undefined}>{(attributes) => <Secret {...attributes} fresh value={f.secret} onInput={(value) => set({ secret: value })} />}</Field>
        <Field label={t('name')}>{(attributes) => <input {...attributes} maxLength={200} value={f.name} onInput={(event) => set({ name: event.currentTarget.value })} />}</Field>
      </div>
      <fieldset class="checks"><legend>{t('channels.topics')}</legend>{topics.map((one) => <label key={one} class="check"><input type="checkbox" checked={chosen.value.has(one)} onChange={() => {
        const next = new Set(chosen.value);
        if (!next.delete(one)) next.add(one);
        chosen.value = next;
      }} /><span>{t(`topic.${one}`)}</span></label>)}
        {may('admin') && <label class="check"><input type="checkbox" checked={f.everyone} onChange={(event) => set({ everyone: event.currentTarget.checked })} /><span>{t('channels.everyone')}</span></label>}</fieldset>
      <details class="more"><summary>{t('add.expert')}</summary>
        <Field label={t('ca')} hint={t('ca.hint')}>{(attributes) => <textarea {...attributes} rows={3} class="code" spellcheck={false} value={f.ca} onInput={(event) => set({ ca: event.currentTarget.value })} />}</Field>
        <label class="check"><input type="checkbox" checked={f.plaintext} onChange={(event) => set({ plaintext: event.currentTarget.checked })} /><span>{t('plaintext')}</span></label></details>
      <Trouble of={trouble.value} />
      <footer><Button kind="main" type="submit" busy={busy.value} disabled={!chosen.value.size}>{t('channels.add')}</Button></footer></form>
  );
}
