import { signal } from '@preact/signals';
import { render, type ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';
import { call, expired, loggedIn, Problem, reachable, session } from './api';
import { language, languages, preferred, speak, t, type Language } from './i18n';
import { go, parts, route } from './router';
import { Login } from './screens/login';
import { Overview } from './screens/overview';
import { enter, stage } from './state';
import { Button, complain, Dialog, Icon, Loading, Notice, spoken, toast } from './ui';
import './style.css';

type Screen = ComponentType;
const lazy: Record<string, () => Promise<Screen>> = {
  add: () => import('./screens/add').then((module) => module.Add),
  consent: () => import('./screens/consent').then((module) => module.Returned),
  import: () => import('./screens/import').then((module) => module.Import),
  jobs: () => import('./screens/job').then((module) => module.JobPage),
  system: () => import('./screens/system').then((module) => module.SystemPage),
  api: () => import('./screens/docs').then((module) => module.Docs),
  setup: () => import('./screens/setup').then((module) => module.Setup),
};
const screens = signal<Record<string, Screen>>({});
const broken = signal('');

function Lazy({ name }: { name: string }) {
  const Found = screens.value[name];
  useEffect(() => {
    if (screens.peek()[name]) return;
    lazy[name]().then(
      (screen) => (screens.value = { ...screens.peek(), [name]: screen }),
      () => (broken.value = name));
  }, [name]);
  if (Found) return <Found />;
  if (broken.value === name)
    return <Notice kind="warn" role="alert" title={t('error.stale')}><Button onClick={() => location.reload()}>{t('reload')}</Button></Notice>;
  return <Loading />;
}

const theme = signal(localStorage.getItem('theme') ?? 'auto');
function paint(wanted: string) {
  theme.value = wanted;
  localStorage.setItem('theme', wanted);
  document.documentElement.dataset.theme = wanted;
}

function Choices() {
  return (
    <div class="choices">
      <label class="choice"><span class="hidden">{t('language')}</span>
        <select value={language.value} onChange={(event) => {
          const wanted = event.currentTarget.value as Language;
          localStorage.setItem('language', wanted);
          void speak(wanted);
        }}>
          {Object.entries(languages).map(([code, name]) => <option key={code} value={code} lang={code}>{name}</option>)}
        </select></label>
      <label class="choice"><span class="hidden">{t('theme')}</span>
        <select value={theme.value} onChange={(event) => paint(event.currentTarget.value)}>
          <option value="auto">{t('theme.auto')}</option>
          <option value="light">{t('theme.light')}</option>
          <option value="dark">{t('theme.dark')}</option>
        </select></label>
    </div>
  );
}

const Brand = () => (
  <span class="brand"><img src="./icon.svg" alt="" width={26} height={26} />Mailhaul</span>
);

async function logOut() {
  try {
    await call('delete', '/session', { impatient: true });
  } catch (problem) {
    if (!(problem instanceof Problem && problem.status === 401)) return complain(problem);
  }
  session.value = null;
  location.reload();
}

function Shell() {
  const [first = ''] = parts();
  const here = (name: string) => (first === name ? 'page' : undefined);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById('main')?.focus(); }}>{t('skip')}</a>
      <header class="bar">
        <a href="#/" class="home" aria-label={t('nav.home')}><Brand /></a>
        <nav aria-label={t('nav')}>
          <a href="#/" aria-current={first === '' || first === 'jobs' ? 'page' : undefined}>{t('nav.accounts')}</a>
          <a href="#/system" aria-current={here('system')}>{t('nav.system')}</a>
          <a href="#/api" aria-current={here('api')}>{t('nav.api')}</a>
        </nav>
        <details class="menu">
          <summary aria-label={t('nav.user', { name: session.value?.user ?? '' })}><Icon of="person" /><span class="who">{session.value?.user}</span></summary>
          <div class="sheet">
            <p><strong>{session.value?.user}</strong><br /><small>{session.value && t(`role.${session.value.role}`)}</small></p>
            <Choices />
            <Button kind="quiet" onClick={() => { help.value = true; }}>{t('keys')}</Button>
            <Button kind="quiet" onClick={logOut}>{t('logout')}</Button>
          </div>
        </details>
      </header>
      <main id="main" tabIndex={-1}>{first === '' ? <Overview /> : first in lazy && first !== 'setup' ? <Lazy name={first} key={first} /> : <Lost />}</main>
    </>
  );
}

const Lost = () => <div class="empty"><h1>{t('lost')}</h1><a class="button main" href="#/">{t('nav.home')}</a></div>;

const help = signal(false);
function Keys() {
  const list: [string, string][] = [['/', t('keys.search')], ['j k', t('keys.move')], ['Enter', t('keys.open')], ['x', t('keys.select')],
    ['p', t('keys.pause')], ['a', t('keys.add')], ['?', t('keys.help')]];
  return (
    <Dialog title={t('keys')} onClose={() => (help.value = false)}>
      <dl class="keys">{list.map(([key, what]) => <div key={key}><dt>{key.split(' ').map((one) => <kbd key={one}>{one}</kbd>)}</dt><dd>{what}</dd></div>)}</dl>
    </Dialog>
  );
}

function App() {
  if (stage.value === 'starting') return <div class="middle">{reachable.value ? <Loading /> : <Offline />}</div>;
  return (
    <>
      {stage.value === 'in' ? <Shell /> : (
        <div class="outside">
          <header><Brand /><Choices /></header>
          <main id="main" tabIndex={-1}>{stage.value === 'setup' ? <Lazy name="setup" /> : <Login />}</main>
        </div>
      )}
      {!reachable.value && stage.value !== 'login' && <Offline />}
      {expired.value && stage.value === 'in' && <Dialog title={t('expired')} onClose={() => undefined} fixed><p>{t('expired.text')}</p><Login again /></Dialog>}
      {help.value && <Keys />}
      <div class="toasts" role="status">{toast.value && <div class={toast.value.bad ? 'toast bad' : 'toast'}>{toast.value.text}
        <Button kind="quiet" small icon="cross" aria-label={t('close')} onClick={() => (toast.value = null)} /></div>}</div>
      <div class="hidden" aria-live="polite">{spoken.value}</div>
    </>
  );
}

const Offline = () => <div class="offline" role="status"><Icon of="spin" spin />{t('offline')}</div>;

addEventListener('keydown', (event) => {
  const target = event.target as HTMLElement;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  if (event.key === 'Escape') document.querySelectorAll('details.menu[open]').forEach((menu) => menu.removeAttribute('open'));
  if (target.matches('input:not([type=checkbox]), textarea, select')) return;
  if (stage.value !== 'in') return;
  if (event.key === '?') help.value = true;
  else if (event.key === 'a') go('/add');
  else return;
  event.preventDefault();
});
addEventListener('click', (event) => {
  for (const menu of document.querySelectorAll('details.menu[open]'))
    if (!menu.contains(event.target as Node)) menu.removeAttribute('open');
});
route.subscribe(() => document.querySelectorAll('details.menu[open]').forEach((menu) => menu.removeAttribute('open')));

async function start() {
  paint(theme.value);
  await speak(preferred());
  render(<App />, document.getElementById('app')!);
  const setup = call('get', '/setup');
  try {
    loggedIn(await call('get', '/session'));
    return enter();
  } catch {
    stage.value = (await setup).needed ? 'setup' : 'login';
  }
}
void start();
