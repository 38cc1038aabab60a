import { useSignal } from '@preact/signals';
import { call, loggedIn, Problem, session } from '../api';
import { t } from '../i18n';
import { enter, stage } from '../state';
import { Button, Field, Notice, Secret, Title, Trouble } from '../ui';

/** `again`: over a page that is in use and stays as it is. */
export function Login({ again }: { again?: boolean }) {
  const name = useSignal(again ? (session.peek()?.user ?? '') : '');
  const password = useSignal('');
  const busy = useSignal(false);
  const trouble = useSignal<unknown>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy.value) return;
    busy.value = true;
    trouble.value = null;
    try {
      const before = session.peek()?.user;
      const who = await call('post', '/session', { body: { name: name.value.trim(), password: password.value }, impatient: true });
      await call('get', '/session', { impatient: true }).catch(() => {
        throw new Problem(1, t('login.cookie'), t('login.cookie.advice'));
      });
      if (again && before && before !== who.user) return location.reload();
      loggedIn(who);
      if (stage.value !== 'in') enter();
    } catch (problem) {
      trouble.value = problem instanceof Problem && (problem.status === 401 || problem.field === 'password') ? new Problem(401, t('login.wrong'), problem.advice) : problem;
    }
    busy.value = false;
  };
  return (
    <form class={again ? '' : 'card narrow'} onSubmit={submit}>
      {!again && <><Title text={t('login')} /><p class="lead">{t('login.lead')}</p></>}
      <Field label={t('user')}>{(attributes) => <input {...attributes} name="username" autoComplete="username" required autoCapitalize="off"
        spellcheck={false} autoFocus={!name.peek()} value={name.value} onInput={(event) => (name.value = event.currentTarget.value)} />}</Field>
      <Field label={t('password')}>{(attributes) => <Secret {...attributes} name="password" required autoFocus={!!name.peek()} value={password.value}
        onInput={(value) => (password.value = value)} />}</Field>
      <Trouble of={trouble.value} />
      {!trouble.value && location.protocol === 'http:' && !['localhost', '127.0.0.1', '[::1]'].includes(location.hostname) &&
        <Notice kind="warn" title={t('login.plain')}>{t('login.plain.advice')}</Notice>}
      <footer><Button kind="main" type="submit" busy={busy.value}>{t('login.do')}</Button></footer>
    </form>
  );
}
