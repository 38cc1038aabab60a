// What a preview and a verification found.
import { call, pause, type Run } from '../api';
import { count, home, inOrder, plain, size } from '../format';
import { t } from '../i18n';
import { Button, Foreign, Notice, save } from '../ui';

export interface PlanReport {
  complete?: boolean; error?: string | null;
  mailboxes: { mailbox: string; destination?: string; exists?: number | null; listed: number; delivered: number; already: number; excluded: number; pending: number; failed: number; bytes?: number; error?: string | null }[];
  sum: { listed: number; delivered: number; already: number; excluded: number; pending: number; failed: number; bytes?: number };
}
export interface VerifyReport {
  deep?: boolean; stopped?: boolean; same?: boolean;
  mailboxes: { mailbox: string; source: number; ledger: number; destination: number; compared: number; bytes: number }[];
  differences: { mailbox: string; uid: number; what: string }[];
}

const over = (run: Run) => run.state !== 'queued' && run.state !== 'running';
export async function readRun(id: number) {
  for (let wait = 150; ; wait = Math.min(wait * 1.5, 2000)) {
    const run = await call('get', '/runs/{id}', { id });
    if (over(run)) return run;
    await pause(wait);
  }
}
export async function readPlan(id: number) {
  const run = await readRun(id);
  if (!run.report) throw new Error(plain([run.error, run.advice].filter(Boolean).join(' · ') || run.state));
  return run.report as unknown as PlanReport;
}

export function Plan({ report }: { report: PlanReport }) {
  const homes = new Map<string, number>();
  for (const one of report.mailboxes) homes.set(one.destination ?? 'INBOX', (homes.get(one.destination ?? 'INBOX') ?? 0) + 1);
  return (
    <section class="plan">
      <Notice kind={report.error ? 'warn' : 'good'} role="status" title={report.error ? plain(report.error, 500) : t('plan.sum', { n: report.sum.pending + report.sum.delivered })}>
        {t('plan.rest', { already: report.sum.already, excluded: report.sum.excluded })}</Notice>
      <div class="scroll" role="region" tabIndex={0} aria-label={t('plan')}><table>
        <thead><tr><th scope="col">{t('mailbox')}</th><th scope="col">{t('plan.home')}</th><th scope="col" class="number">{t('plan.new')}</th><th scope="col" class="number">{t('already')}</th><th scope="col" class="number">{t('excluded')}</th></tr></thead>
        <tbody>{inOrder(report.mailboxes, (one) => one.mailbox).map((one) => (
          <tr key={one.mailbox}><th scope="row"><Foreign text={one.mailbox} limit={200} />{one.error && <small class="wrong"><Foreign text={one.error} limit={300} /></small>}</th>
            <td><Foreign text={home(one.destination ?? 'INBOX')} limit={200} />{homes.get(one.destination ?? 'INBOX')! > 1 && <small class="warned"> {t('plan.meets')}</small>}</td>
            <td class="number">{count(one.pending + one.delivered)}</td><td class="number">{count(one.already)}</td><td class="number">{count(one.excluded)}</td></tr>))}</tbody>
      </table></div>
    </section>
  );
}

const quoted = (text: string | number) => {
  const cell = String(text);
  // A cell that a spreadsheet would take for a formula is text.
  const safe = /^[=+\-@\t\r]/.test(cell) && typeof text === 'string' ? `'${cell}` : cell;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
};
function csv(report: VerifyReport) {
  const lines = [['mailbox', 'source', 'ledger', 'destination', 'compared', 'bytes'],
    ...report.mailboxes.map((one) => [one.mailbox, one.source, one.ledger, one.destination, one.compared, one.bytes]),
    [], ['mailbox', 'uid', 'difference'], ...report.differences.map((one) => [one.mailbox, one.uid, one.what])];
  return lines.map((line) => line.map(quoted).join(',')).join('\r\n') + '\r\n';
}

export function Verification({ run }: { run: Run }) {
  const report = run.report as unknown as VerifyReport | undefined;
  if (!report?.mailboxes) return <Notice kind="bad" title={<Foreign text={run.error || t(`run.${run.state}`)} />}>{run.advice && <Foreign text={run.advice} />}</Notice>;
  const octets = report.mailboxes.reduce((sum, one) => sum + one.bytes, 0);
  const compared = report.mailboxes.reduce((sum, one) => sum + one.compared, 0);
  return (
    <section>
      <Notice kind={report.same ? 'good' : 'warn'} title={report.same ? t('verify.same', { n: compared }) : t('verify.differs', { n: report.differences.length })}>
        {t(report.deep ? 'verify.deep.text' : 'verify.quick.text')}{octets > 0 && ` · ${size(octets)}`}</Notice>
      <p class="buttons"><Button small icon="download" onClick={() => save(`verify-${run.id}.json`, 'application/json', JSON.stringify(report, null, 1))}>JSON</Button>
        <Button small icon="download" onClick={() => save(`verify-${run.id}.csv`, 'text/csv', csv(report))}>CSV</Button></p>
      {report.differences.length > 0 && <ul class="list">{report.differences.slice(0, 500).map((one, at) => (
        <li key={at}><b><Foreign text={one.mailbox} limit={200} />{one.uid ? ` · UID ${one.uid}` : ''}</b> <Foreign text={one.what} limit={500} /></li>))}</ul>}
      <div class="scroll" role="region" tabIndex={0} aria-label={t('verify')}><table>
        <thead><tr><th scope="col">{t('mailbox')}</th><th scope="col" class="number">{t('verify.source')}</th><th scope="col" class="number">{t('verify.ledger')}</th><th scope="col" class="number">{t('verify.here')}</th><th scope="col" class="number">{t('verify.compared')}</th></tr></thead>
        <tbody>{inOrder(report.mailboxes, (one) => one.mailbox).map((one) => (
          <tr key={one.mailbox}><th scope="row"><Foreign text={one.mailbox} limit={200} /></th><td class="number">{count(one.source)}</td><td class="number">{count(one.ledger)}</td><td class="number">{count(one.destination)}</td><td class="number">{count(one.compared)}</td></tr>))}</tbody>
      </table></div>
    </section>
  );
}
