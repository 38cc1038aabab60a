import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { call, session, type AuditEntry, type Role, type Token, type User } from '../api';
import { count, moment, size } from '../format';
import { t } from '../i18n';
import { parts } from '../router';
import { destinations, loadDestinations, loadSystem, system } from '../state';
import { Channels } from './channels';
import { IntoAccount } from './into';
import { Button, complain, Confirm, Empty, Field, Foreign, Icon, Loading, may, Meter, Notice, save, Secret, Tabs, tell, Title, Trouble, When } from '../ui';

function Health() {
  const trouble = useSignal<unknown>(null);
  useEffect(() => {
    const read = () => loadSystem().catch((problem) => (trouble.value = problem));
    void read();
    const timer = setInterval(read, 5000);
    return () => clearInterval(timer);
  }, []);
  const now = system.value;
  if (!now) return trouble.value ? <Trouble of={trouble.value} /> : <Loading />;
  const low = now.disk_reserve !== undefined && now.disk_free < now.disk_reserve;
  return (
    <>
      {low ? <Notice kind="bad" title={t('health.disk.low')}>{t('health.disk.low.text', { free: size(now.disk_free), reserve: size(now.disk_reserve!) })}</Notice> : <Notice kind="good" title={t('health.good')} />}
      {now.key === 'generated' && <Notice kind="info" title={t('health.key')}>{t('health.key.text')}</Notice>}
      <dl class="figures">
        <div><dt>{t('health.running')}</dt><dd>{count(now.running)}{now.workers ? <small> / {count(now.workers)}</small> : null}</dd></div>
        <div><dt>{t('health.queued')}</dt><dd>{count(now.queued)}</dd></div>
        <div><dt>{t('health.jobs')}</dt><dd>{count(now.jobs)}</dd></div>
        <div><dt>{t('health.disk')}</dt><dd>{size(now.disk_free)}</dd></div>
        {now.memory ? <div><dt>{t('health.memory')}</dt><dd>{size(now.memory)}</dd></div> : null}
      </dl>
      <dl class="facts">
        <div><dt>{t('health.version')}</dt><dd>Mailhaul {now.version} · <a href="./licenses.txt">{t('health.licenses')}</a></dd></div>
        <div><dt>{t('health.started')}</dt><dd><When at={now.started} /></dd></div>
        <div><dt>{t('health.root')}</dt><dd><code>{now.mail_root}</code></dd></div>
        {now.disk_reserve ? <div><dt>{t('health.reserve')}</dt><dd>{size(now.disk_reserve)}</dd></div> : null}
      </dl>
      {now.workers ? <Meter label={t('health.running')} value={now.running} of={now.workers} text={`${now.running} / ${now.workers}`} /> : null}
    </>
  );
}

const roles: Role[] = ['owner', 'operator', 'viewer'];
function Users() {
  const list = useSignal<User[] | null>(null);
  const trouble = useSignal<unknown>(null);
  const name = useSignal('');
  const password = useSignal('');
  const role = useSignal<Role>('operator');
  const busy = useSignal(false);
  const leaving = useSignal<User | null>(null);
  const read = () => call('get', '/users').then((found) => (list.value = found.items), (problem) => (trouble.value = problem));
  useEffect(() => void read(), []);
  const add = async (event: Event) => {
    event.preventDefault();
    if (busy.value) return;
    busy.value = true;
    trouble.value = null;
    try {
      await call('post', '/users', { body: { name: name.value.trim(), password: password.value, role: role.value } });
      name.value = password.value = '';
      await read();
    } catch (problem) {
      trouble.value = problem;
    }
    busy.value = false;
  };
  return (
    <>
      {may('admin') && (!list.value ? <Loading /> : <ul class="list cards">{list.value.map((user) => (
        <li key={user.id} class="spread"><span><Icon of="person" /> <b><Foreign text={user.name} limit={100} /></b> {user.id === session.value?.user_id && <small>{t('users.you')}</small>}<br /><small>{moment(user.created)}</small></span>
          <span class="buttons"><label><span class="hidden">{t('role.of', { name: user.name })}</span><select disabled={user.id === session.value?.user_id} value={user.role} onChange={async (event) => {
            try { await call('patch', '/users/{id}', { id: user.id, body: { role: event.currentTarget.value as Role } }); tell(t('saved')); } catch (problem) { complain(problem); }
            void read(); }}>
            {roles.map((one) => <option key={one} value={one}>{t(`role.${one}`)}</option>)}</select></label>
            {user.id !== session.value?.user_id && <Button small kind="quiet" icon="cross" aria-label={t('users.remove', { name: user.name })} onClick={() => (leaving.value = user)} />}</span></li>))}</ul>)}
      {may('admin') && <form class="card" onSubmit={add}><h2 class="minor">{t('users.add')}</h2>
        <div class="grid">
          <Field label={t('user')}>{(attributes) => <input {...attributes} required maxLength={100} autoComplete="off" autoCapitalize="off" value={name.value} onInput={(event) => (name.value = event.currentTarget.value)} />}</Field>
          <Field label={t('password')} hint={t('password.hint')}>{(attributes) => <Secret {...attributes} fresh required minLength={12} value={password.value} onInput={(value) => (password.value = value)} />}</Field>
          <Field label={t('role')} hint={t(`role.${role.value}.text`)}>{(attributes) => <select {...attributes} value={role.value} onChange={(event) => (role.value = event.currentTarget.value as Role)}>{roles.map((one) => <option key={one} value={one}>{t(`role.${one}`)}</option>)}</select>}</Field>
        </div>
        <footer><Button kind="main" type="submit" busy={busy.value}>{t('users.add')}</Button></footer></form>}
      <Trouble of={trouble.value} />
      <OwnPassword />
      {leaving.value && <Confirm title={t('users.remove', { name: leaving.value.name })} word={leaving.value.name} action={t('remove')} onClose={() => (leaving.value = null)}
        onDone={async () => { await call('delete', '/users/{id}', { id: leaving.value!.id }); await read(); }}><p>{t('users.remove.text')}</p></Confirm>}
    </>
  );
}

function OwnPassword() {
  const before = useSignal('');
  const after = useSignal('');
  const trouble = useSignal<unknown>(null);
  const id = session.value?.user_id;
  if (!id) return null;
  const submit = async (event: Event) => {
    event.preventDefault();
    trouble.value = null;
    try {
      await call('patch', '/users/{id}', { id, body: { password: after.value, old_password: before.value } });
      before.value = after.value = '';
      tell(t('saved'));
    } catch (problem) {
      trouble.value = problem;
    }
  };
  return (
    <form class="card" onSubmit={submit}><h2 class="minor">{t('password.change')}</h2><div class="grid">
      <Field label={t('password.old')}>{(attributes) => <Secret {...attributes} required value={before.value} onInput={(value) => (before.value = value)} />}</Field>
      <Field label={t('password.new')} hint={t('password.hint')}>{(attributes) => <Secret {...attributes} fresh required minLength={12} value={after.value} onInput={(value) => (after.value = value)} />}</Field></div>
      <Trouble of={trouble.value} /><footer><Button type="submit">{t('password.change')}</Button></footer></form>
  );
}

const scopes = ['read', 'write', 'run', 'admin', 'metrics'] as const;
function Tokens() {
  const list = useSignal<Token[] | null>(null);
  const trouble = useSignal<unknown>(null);
  const name = useSignal('');
  const chosen = useSignal<ReadonlySet<(typeof scopes)[number]>>(new Set(['read']));
  const days = useSignal('90');
  const secret = useSignal('');
  const read = () => call('get', '/tokens').then((found) => (list.value = found.items), (problem) => (trouble.value = problem));
  useEffect(() => void read(), []);
  const make = async (event: Event) => {
    event.preventDefault();
    trouble.value = null;
    try {
      const made = await call('post', '/tokens', { body: { name: name.value.trim(), scopes: [...chosen.value], expires: days.value === '0' ? 0 : Math.floor(Date.now() / 1000) + Number(days.value) * 86400 } });
      secret.value = made.secret;
      name.value = '';
      await read();
    } catch (problem) {
      trouble.value = problem;
    }
  };
  const revoke = async (id: number) => {
    try { await call('delete', '/tokens/{id}', { id }); await read(); } catch (problem) { complain(problem); }
  };
  return (
    <>
      <p class="lead">{t('tokens.lead')}</p>
      {secret.value && <Notice kind="good" role="status" title={t('tokens.made')}><p><code class="secret-text">{secret.value}</code></p><p class="buttons"><Button small icon="copy" onClick={() => navigator.clipboard?.writeText(secret.value).then(() => tell(t('copied')), complain)}>{t('copy')}</Button><Button small kind="quiet" onClick={() => (secret.value = '')}>{t('close')}</Button></p></Notice>}
      {!list.value ? <Loading /> : !list.value.length ? <Empty icon="key" title={t('tokens.none')} /> : <ul class="list cards">{list.value.map((token) => (
        <li key={token.id} class="spread"><span><b><Foreign text={token.name} limit={100} /></b> <code>{token.prefix}…</code> <small>{token.scopes.join(', ')}</small><br />
          <small>{token.last_used ? <>{t('tokens.used')} <When at={token.last_used} /></> : t('tokens.unused')}{token.expires ? ` · ${t('tokens.until', { date: moment(token.expires) })}` : ''}</small></span>
          <Button small kind="danger" aria-label={t('tokens.revoke.one', { name: token.name })} onClick={() => revoke(token.id)}>{t('tokens.revoke')}</Button></li>))}</ul>}
      <form class="card" onSubmit={make}><h2 class="minor">{t('tokens.add')}</h2>
        <div class="grid"><Field label={t('name')}>{(attributes) => <input {...attributes} required maxLength={100} placeholder="backup script" value={name.value} onInput={(event) => (name.value = event.currentTarget.value)} />}</Field>
          <Field label={t('tokens.expires')}>{(attributes) => <select {...attributes} value={days.value} onChange={(event) => (days.value = event.currentTarget.value)}>{[30, 90, 365].map((n) => <option key={n} value={n}>{t('days', { n })}</option>)}<option value="0">{t('never')}</option></select>}</Field></div>
        <fieldset class="checks"><legend>{t('tokens.scopes')}</legend>{scopes.map((one) => <label key={one} class="check"><input type="checkbox" checked={chosen.value.has(one)} onChange={() => {
          const next = new Set(chosen.value);
          if (!next.delete(one)) next.add(one);
          chosen.value = next;
        }} /><span><code>{one}</code><small>{t(`scope.${one}`)}</small></span></label>)}</fieldset>
        <Trouble of={trouble.value} />
        <footer><Button kind="main" type="submit" disabled={!chosen.value.size}>{t('tokens.add')}</Button></footer></form>
    </>
  );
}

function Places() {
  const trouble = useSignal<unknown>(null);
  useEffect(() => { loadDestinations().catch((problem) => (trouble.value = problem)); }, []);
  const forget = async (id: number) => {
    try { await call('delete', '/destinations/{id}', { id }); await loadDestinations(); } catch (problem) { complain(problem); }
  };
  return (
    <>
      <p class="lead">{t('places.lead')}</p><Trouble of={trouble.value} />
      {!destinations.value.length ? <Empty icon="mail" title={t('places.none')} /> : <ul class="list cards">{destinations.value.map((one) => (
        <li key={one.id} class="spread"><span><b><Foreign text={one.name} limit={200} /></b> <small>{one.kind === 'imap' ? 'IMAP' : 'Maildir'} · {t('accounts', { n: one.jobs.length })}</small><br /><code><Foreign text={one.path} limit={400} /></code></span>
          {may('write') && !one.jobs.length && <Button small kind="quiet" icon="cross" aria-label={t('places.forget', { name: one.name })} onClick={() => forget(one.id)} />}</li>))}</ul>}
      <Notice kind="info" title={t('places.read')}>{t('setup.mail.read')}</Notice>
      {may('write') && <section class="card"><h2 class="minor">{t('setup.mail.account')}</h2><p class="lead">{t('setup.mail.account.text')}</p>
        <IntoAccount label={t('into.do')} onMade={(made) => { tell(t('into.done', { name: made.name })); loadDestinations().catch(complain); }} /></section>}
    </>
  );
}

function Audit() {
  const list = useSignal<AuditEntry[] | null>(null);
  const next = useSignal<string | undefined>(undefined);
  const trouble = useSignal<unknown>(null);
  const read = async (cursor?: string) => {
    try {
      const page = await call('get', '/audit', { query: { limit: 100, cursor } });
      list.value = [...(cursor ? (list.value ?? []) : []), ...page.items];
      next.value = page.next;
    } catch (problem) {
      trouble.value = problem;
    }
  };
  useEffect(() => void read(), []);
  if (!list.value) return trouble.value ? <Trouble of={trouble.value} /> : <Loading />;
  return (
    <>
      <p class="buttons"><Button small icon="download" onClick={() => save('audit.json', 'application/json', JSON.stringify(list.value, null, 1))}>JSON</Button></p>
      <div class="scroll" role="region" tabIndex={0} aria-label={t('system.audit')}><table>
        <thead><tr><th scope="col">{t('audit.when')}</th><th scope="col">{t('audit.who')}</th><th scope="col">{t('audit.what')}</th><th scope="col">{t('audit.object')}</th><th scope="col">{t('audit.result')}</th><th scope="col">{t('audit.address')}</th></tr></thead>
        <tbody>{list.value.map((one) => <tr key={one.id}><td>{moment(one.at)}</td><th scope="row"><Foreign text={one.who} limit={100} /></th><td><Foreign text={one.what} limit={200} /></td><td><Foreign text={one.object ?? ''} limit={200} /></td><td><Foreign text={one.result} limit={200} /></td><td><Foreign text={one.address ?? ''} limit={80} /></td></tr>)}</tbody>
      </table></div>
      {next.value && <p class="buttons"><Button onClick={() => read(next.value)}>{t('more')}</Button></p>}
    </>
  );
}

const Command = ({ what, line }: { what: string; line: string }) => (
  <li><p>{what}</p><p class="spread"><code class="command">{line}</code><Button small icon="copy" aria-label={`${t('copy')}: ${line}`} onClick={() => navigator.clipboard?.writeText(line).then(() => tell(t('copied')), complain)}>{t('copy')}</Button></p></li>
);

/** What only the machine of the service may do, and how it is done there. */
function Keep() {
  const trouble = useSignal<unknown>(null);
  useEffect(() => { loadSystem().catch((problem) => (trouble.value = problem)); }, []);
  const now = system.value;
  if (!now) return trouble.value ? <Trouble of={trouble.value} /> : <Loading />;
  return (
    <>
      <p class="lead">{t('keep.lead')}</p>
      <section class="card"><h2 class="minor">{t('keep.backup')}</h2><p>{t('keep.backup.text')}</p>
        <ul class="list"><Command what={t('keep.backup.do')} line="mailhaul backup mailhaul-backup.db" /><Command what={t('keep.restore.do')} line="mailhaul restore mailhaul-backup.db" /></ul></section>
      <section class="card"><h2 class="minor">{t('keep.key')}</h2>
        {now.key === 'generated' ? <Notice kind="warn" title={t('health.key')}>{t('health.key.text')}</Notice> : <Notice kind="good" title={t('keep.key.given')} />}
        <ul class="list"><Command what={t('keep.key.verify')} line="mailhaul key verify" /><Command what={t('keep.key.rotate')} line="mailhaul key rotate" /></ul></section>
    </>
  );
}

export function SystemPage() {
  const [, tab = ''] = parts();
  const names = ['', 'users', 'tokens', 'places', 'channels', 'keep', ...(may('admin') ? ['audit' as const] : [])] as const;
  return (
    <>
      <Title text={t('nav.system')} />
      <Tabs label={t('tabs')} at={tab ? `/system/${tab}` : '/system'} items={names.map((one) => ({ to: one ? `/system/${one}` : '/system', text: t(one ? `system.${one}` : 'system.health') }))} />
      <div class="tab">{tab === '' && <Health />}{tab === 'users' && <Users />}{tab === 'tokens' && <Tokens />}{tab === 'places' && <Places />}{tab === 'channels' && <Channels />}{tab === 'keep' && <Keep />}{tab === 'audit' && <Audit />}</div>
    </>
  );
}
