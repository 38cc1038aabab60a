// An IMAP account as the place where mail goes: its address, tried before it is kept.
import { useSignal } from '@preact/signals';
import { call, freshKey, type Destination } from '../api';
import { t } from '../i18n';
import { Button, Field, Foreign, Notice, Secret, Trouble } from '../ui';

export function IntoAccount({ label, onMade }: { label: string; onMade: (made: Destination) => void }) {
  const source = useSignal('');
  const password = useSignal('');
  const ca = useSignal('');
  const busy = useSignal(false);
  const trouble = useSignal<unknown>(null);
  const failed = useSignal<{ detail?: string; advice?: string } | null>(null);
  const make = async (event: Event) => {
    event.preventDefault();
    if (busy.value) return;
    busy.value = true;
    trouble.value = failed.value = null;
    const body = { source: source.value.trim(), password: password.value, ...(ca.value.trim() && { ca: ca.value }) };
    try {
      const report = await call('post', '/accounts/test', { body });
      failed.value = report.steps.find((one) => !one.ok) ?? null;
      if (report.ok) {
        const account = await call('post', '/accounts', { body, key: freshKey() });
        onMade(await call('post', '/destinations', { body: { account: account.id }, key: freshKey() }));
      }
    } catch (problem) {
      trouble.value = problem;
    }
    busy.value = false;
  };
  return (
    <form onSubmit={make}>
      <Field label={t('into.source')} hint={t('into.source.hint')}>{(attributes) => <input {...attributes} name="into" required spellcheck={false} autoCapitalize="off"
        placeholder={t('add.address.example')} value={source.value} onInput={(event) => (source.value = event.currentTarget.value)} />}</Field>
      <Field label={t('add.password')} hint={t('into.password.hint')}>{(attributes) => <Secret {...attributes} name="into-password" fresh required value={password.value} onInput={(value) => (password.value = value)} />}</Field>
      <details class="more"><summary>{t('add.expert')}</summary>
        <Field label={t('ca')} hint={t('ca.hint')}>{(attributes) => <textarea {...attributes} rows={3} class="code" spellcheck={false} value={ca.value} onInput={(event) => (ca.value = event.currentTarget.value)} />}</Field></details>
      {failed.value && <Notice kind="bad" role="alert" title={<Foreign text={failed.value.detail ?? ''} />}>{failed.value.advice && <Foreign text={failed.value.advice} />}</Notice>}
      <Trouble of={trouble.value} />
      <footer><Button kind="main" type="submit" busy={busy.value} icon="arrow">{label}</Button></footer>
    </form>
  );
}
