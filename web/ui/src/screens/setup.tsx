import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { call, loggedIn, type Destination } from '../api';
import { t } from '../i18n';
import { go } from '../router';
import { enter, loadSystem, stage, system } from '../state';
import { IntoAccount } from './into';
import { Button, Field, Notice, Secret, Title, Trouble } from '../ui';

const step = signal<'owner' | 'mail'>('owner');
const token = signal(new URLSearchParams(location.search).get('token') ?? '');
const name = signal('');
const password = signal('');
const place = signal<'own' | 'one' | 'account'>('own');
const busy = signal(false);
const trouble = signal<unknown>(null);

async function attempt(what: () => Promise<void>) {
  if (busy.value) return;
  busy.value = true;
  trouble.value = null;
  try {
    await what();
  } catch (problem) {
    trouble.value = problem;
  }
  busy.value = false;
}

const makeOwner = (event: Event) => {
  event.preventDefault();
  void attempt(async () => {
    loggedIn(await call('post', '/setup', { body: { token: token.value.trim(), name: name.value.trim(), password: password.value }, impatient: true }));
    step.value = 'mail';
    await loadSystem().catch(() => undefined);
  });
};
const choosePlace = (event: Event) => {
  event.preventDefault();
  void attempt(async () => {
    if (place.value === 'one') {
      const made = await call('post', '/destinations', { body: { name: t('setup.mail.one'), path: 'all', names: 'utf7' }, key: 'setup-destination' });
      localStorage.setItem('destination', String(made.id));
    } else localStorage.removeItem('destination');
    enter();
    go('/add');
  });
};
const intoAccount = (made: Destination) => {
  localStorage.setItem('destination', String(made.id));
  enter();
  go('/add');
};

export function Setup() {
  useEffect(() => () => { if (stage.value !== 'setup') step.value = 'owner'; }, []);
  return step.value === 'owner' ? (
    <form class="card narrow" onSubmit={makeOwner}>
      <p class="step">{t('step', { n: 1, of: 2 })}</p>
      <Title text={t('setup')} />
      <p class="lead">{t('setup.lead')}</p>
      <Field label={t('setup.token')} hint={t('setup.token.hint')}>{(attributes) => <input {...attributes} class="code" required autoFocus={!token.peek()}
        autoComplete="off" spellcheck={false} autoCapitalize="off" value={token.value} onInput={(event) => (token.value = event.currentTarget.value)} />}</Field>
      <Field label={t('user')}>{(attributes) => <input {...attributes} name="username" autoComplete="username" required autoCapitalize="off"
        spellcheck={false} value={name.value} onInput={(event) => (name.value = event.currentTarget.value)} />}</Field>
      <Field label={t('password')} hint={t('password.hint')}>{(attributes) => <Secret {...attributes} fresh required minLength={12} value={password.value}
        onInput={(value) => (password.value = value)} />}</Field>
      <Trouble of={trouble.value} />
      <footer><Button kind="main" type="submit" busy={busy.value}>{t('setup.do')}</Button></footer>
    </form>
  ) : (
    <section class="card narrow">
      <p class="step">{t('step', { n: 2, of: 2 })}</p>
      <Title text={t('setup.mail')} />
      <p class="lead">{t('setup.mail.lead')}</p>
      <fieldset class="options">
        <legend class="hidden">{t('setup.mail')}</legend>
        {(['own', 'one', 'account'] as const).map((kind) => (
          <label key={kind} class="option"><input type="radio" name="place" checked={place.value === kind} onChange={() => (place.value = kind)} />
            <span><strong>{t(`setup.mail.${kind}`)}</strong><small>{t(`setup.mail.${kind}.text`)}</small></span></label>
        ))}
      </fieldset>
      {place.value === 'account' ? <IntoAccount label={t('setup.mail.do')} onMade={intoAccount} /> : (
        <form onSubmit={choosePlace}>
          {system.value && <Notice kind="info" title={t('setup.mail.where', { path: system.value.mail_root })}>{t('setup.mail.read')}</Notice>}
          <Trouble of={trouble.value} />
          <footer><Button kind="main" type="submit" busy={busy.value} icon="arrow">{t('setup.mail.do')}</Button></footer>
        </form>)}
    </section>
  );
}
