import { signal } from '@preact/signals';
import { call, type ImportReport } from '../api';
import { t } from '../i18n';
import { loadJobs } from '../state';
import { Button, Field, Foreign, Icon, Notice, save, Title, Trouble } from '../ui';

const text = signal('');
const report = signal<{ dry: boolean; of: ImportReport } | null>(null);
const busy = signal<'' | 'dry' | 'real'>('');
const trouble = signal<unknown>(null);
const example = 'source,password,destination,name\nanna@example.org,her-app-password,anna,Anna\nimaps://ben@mail.example.net:993,secret,team/ben,Ben\n';

async function send(dry: boolean) {
  if (busy.value) return;
  busy.value = dry ? 'dry' : 'real';
  trouble.value = null;
  try {
    report.value = { dry, of: await call('post', '/accounts/import', { query: { dry_run: dry }, body: text.value }) };
    if (!dry) {
      await loadJobs();
      if (report.value.of.failed === 0) text.value = '';
    }
  } catch (problem) {
    trouble.value = problem;
  }
  busy.value = '';
}

async function take(files: FileList | null | undefined) {
  if (files?.[0]) text.value = await files[0].text();
}

function Result() {
  const { dry, of } = report.value!;
  return (
    <section class="card">
      <Notice kind={of.failed ? 'warn' : 'good'} role="status" title={dry ? t('import.checked', { n: of.lines.length - of.failed }) : t('import.added', { n: of.added })}>
        {of.failed > 0 && t('import.failed', { n: of.failed })}</Notice>
      <div class="scroll" role="region" tabIndex={0} aria-label={t('import.result')}><table>
        <thead><tr><th scope="col" class="number">{t('import.line')}</th><th scope="col">{t('column.account')}</th><th scope="col">{t('import.result')}</th></tr></thead>
        <tbody>{of.lines.map((line) => (
          <tr key={line.line}><td class="number">{line.line}</td><th scope="row">{line.job ? <a href={`#/jobs/${line.job}`}><Foreign text={line.source ?? ''} limit={200} /></a> : <Foreign text={line.source ?? ''} limit={200} />}</th>
            <td class={line.ok ? 'right' : 'wrong'}><Icon of={line.ok ? 'check' : 'cross'} /> <span class="hidden">{line.ok ? t('good') : t('bad')} </span><Foreign text={line.detail ?? (line.ok ? t('good') : t('bad'))} limit={600} /></td></tr>))}</tbody>
      </table></div>
    </section>
  );
}

export function Import() {
  return (
    <div class="flow">
      <Title text={t('import')} />
      <form class="card" onSubmit={(event) => { event.preventDefault(); void send(false); }}
        onDragOver={(event) => event.preventDefault()} onDrop={(event) => { event.preventDefault(); void take(event.dataTransfer?.files); }}>
        <p class="lead">{t('import.lead')}</p>
        <Field label={t('import.file')}>{(attributes) => <input {...attributes} type="file" accept=".csv,text/csv,text/plain" onChange={(event) => take(event.currentTarget.files)} />}</Field>
        <Field label={t('import.text')} hint={<>{t('import.columns')} <code>source, password, destination, name, minutes, paused</code></>}>{(attributes) => (
          <textarea {...attributes} class="code" rows={8} required spellcheck={false} autoComplete="off" placeholder={example} value={text.value} onInput={(event) => (text.value = event.currentTarget.value)} />)}</Field>
        <Trouble of={trouble.value} />
        <footer><Button kind="quiet" icon="download" onClick={() => save('accounts.csv', 'text/csv', example)}>{t('import.example')}</Button>
          <Button busy={busy.value === 'dry'} disabled={!text.value.trim()} onClick={() => send(true)}>{t('import.dry')}</Button>
          <Button kind="main" type="submit" busy={busy.value === 'real'} disabled={!text.value.trim()}>{t('import.do')}</Button></footer>
      </form>
      {report.value && <Result />}
    </div>
  );
}
