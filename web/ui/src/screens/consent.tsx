// The access is allowed at the provider (OAuth): in this browser, which comes back, or by a code on any machine.
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { call, pause, type Consent as View } from '../api';
import { plain } from '../format';
import { t } from '../i18n';
import { answer } from '../router';
import { Button, complain, Field, Foreign, Icon, Loading, Notice, say, Secret, tell, Title, Trouble } from '../ui';

/** Where the provider sends the browser back to; it has to be known there. */
const home = location.origin + location.pathname;
const web = (url?: string) => (url && /^https?:\/\//.test(url) ? url : undefined);
const host = (url: string) => new URL(url).host;

const remembered = { issuer: '', client_id: '', scope: '' };
try {
  Object.assign(remembered, JSON.parse(localStorage.getItem('oauth') ?? '{}'));
} catch { /* somebody else's */ }

type Props = {
  /** The account, made first where there is none yet. */
  account: () => Promise<number>;
  /** The account that is there already: what was begun for it goes on. */
  id?: number;
  provider?: string;
  /** Nothing is known of the provider: whose it is has to be said. */
  stranger?: boolean;
  onAllowed: () => Promise<unknown>;
};

export function Consent({ account, id, provider, stranger, onAllowed }: Props) {
  const client = useSignal({ ...remembered, issuer: web(provider) ?? remembered.issuer, client_secret: '' });
  const view = useSignal<View | null>(null);
  const busy = useSignal<'' | 'device' | 'code' | 'after'>('');
  const trouble = useSignal<unknown>(null);
  const waited = useSignal(0);  // the account whose provider is asked
  const name = provider ? plain(web(provider) ? host(provider) : provider, 60) : t('consent.provider');

  useEffect(() => {
    if (id && !waited.value) call('get', '/accounts/{id}/consent', { id }).then((found) => {
      if (found.state !== 'waiting') return;
      view.value = found;
      waited.value = id;
    }, () => undefined);
  }, [id]);

  useEffect(() => {
    const one = waited.value;
    if (!one) return;
    let current = true;
    void (async () => {
      while (current) {
        await pause(1000);
        const found = await call('get', '/accounts/{id}/consent', { id: one }).catch(() => null);
        if (!current) return;
        if (!found) continue;
        view.value = found;
        if (found.state === 'waiting' && (found.expires ?? Infinity) > Date.now() / 1000) continue;
        waited.value = 0;
        if (found.state !== 'allowed') return say(plain(found.error ?? t('consent.expired'), 200), true);
        busy.value = 'after';
        await onAllowed().catch((problem) => (trouble.value = problem));
        busy.value = '';
      }
    })();
    return () => { current = false; };
  }, [waited.value]);

  const begin = async (flow: 'device' | 'code') => {
    if (busy.value) return;
    busy.value = flow;
    trouble.value = view.value = null;
    waited.value = 0;
    const { issuer, client_id, scope, client_secret } = client.value;
    try {
      const one = await account();
      const asked = await call('post', '/accounts/{id}/consent', { id: one, body: {
        flow, ...(flow === 'code' && { redirect: home }), ...(stranger && issuer.trim() && { issuer: issuer.trim() }),
        ...(client_id.trim() && { client_id: client_id.trim(), ...(client_secret && { client_secret }) }), ...(scope.trim() && { scope: scope.trim() }) } });
      if (stranger) localStorage.setItem('oauth', JSON.stringify(Object.assign(remembered, { issuer: issuer.trim(), client_id: client_id.trim(), scope: scope.trim() })));
      const state = flow === 'code' && web(asked.url) && new URL(asked.url!).searchParams.get('state');
      if (state) localStorage.setItem(`consent ${state}`, String(one));
      view.value = asked;
      waited.value = one;
    } catch (problem) {
      trouble.value = problem;
    }
    busy.value = '';
  };

  const now = view.value;
  const late = now?.state === 'waiting' && !waited.value;
  return (
    <div class="consent">
      {now?.state === 'waiting' && !late && <Waiting of={now} name={name} />}
      {late && <Notice kind="warn" role="alert" title={t('consent.expired')}>{t('consent.again')}</Notice>}
      {(now?.state === 'failed' || now?.state === 'needed') && <Notice kind="bad" role="alert" title={t(now.state === 'failed' ? 'consent.failed' : 'consent.needed')}>
        {now.error && <p><Foreign text={now.error} limit={500} /></p>}<p>{t('consent.again')}</p></Notice>}
      {now?.state === 'allowed' && <Notice kind="good" role="status" title={t('consent.allowed')}>{busy.value === 'after' && <Loading />}</Notice>}
      <p class="buttons"><Button kind={now?.state === 'waiting' && !late ? 'plain' : 'main'} icon="shield" busy={busy.value === 'code'} onClick={() => begin('code')}>{t('consent.code', { name })}</Button>
        <Button icon="key" busy={busy.value === 'device'} onClick={() => begin('device')}>{t('consent.device')}</Button></p>
      <Trouble of={trouble.value} />
      <details class="more" open={stranger || undefined}><summary>{t('consent.client')}</summary>
        <p class="hint">{t('consent.client.text')} <code>{home}</code></p>
        <div class="grid">
          {stranger && <Typed label={t('consent.issuer')} placeholder="https://login.example.org" of={client.value.issuer} to={(issuer) => (client.value = { ...client.value, issuer })} />}
          <Typed label={t('consent.id')} of={client.value.client_id} to={(client_id) => (client.value = { ...client.value, client_id })} />
          <Field label={t('consent.secret')}>{(attributes) => <Secret {...attributes} fresh value={client.value.client_secret} onInput={(client_secret) => (client.value = { ...client.value, client_secret })} />}</Field>
          <Typed label={t('consent.scope')} of={client.value.scope} to={(scope) => (client.value = { ...client.value, scope })} />
        </div></details>
    </div>
  );
}

const Typed = ({ label, of, to, placeholder }: { label: string; of: string; to: (text: string) => void; placeholder?: string }) => (
  <Field label={label}>{(attributes) => <input {...attributes} spellcheck={false} autoCapitalize="off" autoComplete="off" placeholder={placeholder} value={of} onInput={(event) => to(event.currentTarget.value)} />}</Field>
);

function Waiting({ of, name }: { of: View; name: string }) {
  const url = web(of.url_complete) ?? web(of.url);
  return (
    <Notice kind="info" role="status" title={t('consent.waiting', { name })}>
      {of.user_code && <><p>{t('consent.enter', { host: web(of.url) ? host(of.url!) : '' })}</p>
        <p class="spread"><code class="user-code">{of.user_code}</code><Button small icon="copy" onClick={() => navigator.clipboard?.writeText(of.user_code!).then(() => tell(t('copied')), complain)}>{t('copy')}</Button></p></>}
      {url && <p><a class="button main" href={url} target="_blank" rel="noreferrer noopener">{t('consent.open', { host: host(url) })}<Icon of="arrow" /></a></p>}
    </Notice>
  );
}

/** The browser that came back from the provider. The window that sent it there notices by itself. */
export function Returned() {
  const view = useSignal<View | null>(null);
  const trouble = useSignal<unknown>(null);
  useEffect(() => {
    const key = `consent ${new URLSearchParams(answer).get('state')}`;
    const id = Number(localStorage.getItem(key));
    localStorage.removeItem(key);
    if (!id) trouble.value = new Error(t('consent.stray'));
    else call('post', '/accounts/{id}/consent/finish', { id, body: { query: answer } }).then((found) => (view.value = found), (problem) => (trouble.value = problem));
  }, []);
  return (
    <section class="card flow">
      <Title text={t('consent.back')} />
      {view.value ? <Notice kind="good" role="status" title={t('consent.allowed')}>{t('consent.close')}</Notice>
        : trouble.value ? <><Trouble of={trouble.value} /><p>{t('consent.again')}</p></> : <Loading />}
    </section>
  );
}
