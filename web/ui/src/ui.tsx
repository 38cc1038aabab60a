// The small pieces that every screen is made of.
import { signal, useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { Problem, session, type JobState } from './api';
import { ago, moment, ownClock, plain } from './format';
import { t, type Key } from './i18n';

const shapes = {
  alert: 'M12 8v5m0 3.500v.01M10.300 4 2.700 17.500A2 2 0 0 0 4.400 20.500h15.200a2 2 0 0 0 1.700-3L13.700 4a2 2 0 0 0-3.400 0Z',
  arrow: 'M5 12h14m-6-6 6 6-6 6',
  check: 'm5 12.500 4.500 4.500L19 7.500',
  clock: 'M12 7v5l3 2m6-2a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z',
  copy: 'M9 9h11v11H9zM15 9V4H4v11h5',
  cross: 'm6 6 12 12M18 6 6 18',
  dots: 'M6 12h.01M12 12h.01M18 12h.01',
  download: 'M12 4v11m-5-4.500 5 5 5-5M5 20h14',
  flag: 'M6 21V4h11l-2 4 2 4H6',
  key: 'M14 10a4.500 4.500 0 1 0-2.500 4L14 16.500h2.500V19H19v-3.500l-5.500-5.500',
  mail: 'M3.500 6h17v12h-17zM4 6.500l8 6.500 8-6.500',
  pause: 'M8 5v14M16 5v14',
  person: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm-7.500 8.500c.8-4 3.800-6 7.500-6s6.700 2 7.500 6',
  play: 'M7 4.500v15l12-7.500z',
  plus: 'M12 5v14M5 12h14',
  queue: 'M4 7h16M4 12h16M4 17h10',
  repeat: 'M4 12a8 8 0 0 1 14-5.300L20 9m0-5v5h-5M20 12a8 8 0 0 1-14 5.300L4 15m0 5v-5h5',
  search: 'M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13Zm5-1.500L21 21',
  shield: 'M12 3 4.500 6v5.500c0 4.500 3 8 7.500 9.500 4.500-1.500 7.500-5 7.500-9.500V6z',
  spin: 'M12 3a9 9 0 1 1-9 9',
  stop: 'M6 6h12v12H6z',
  theme: 'M12 3a9 9 0 1 0 9 9c-5 2-10-3-9-9Z',
};
export type Shape = keyof typeof shapes;

export const Icon = ({ of, spin }: { of: Shape; spin?: boolean }) => (
  <svg class={spin ? 'icon spin' : 'icon'} viewBox="0 0 24 24" aria-hidden="true"><path d={shapes[of]} /></svg>
);

type ButtonProps = Omit<JSX.IntrinsicElements['button'], 'icon' | 'onClick'> & {
  onClick?: (event: MouseEvent) => unknown;
  kind?: 'main' | 'plain' | 'quiet' | 'danger'; icon?: Shape; busy?: boolean; small?: boolean;
};
export function Button({ kind = 'plain', icon, busy, small, children, disabled, ...rest }: ButtonProps) {
  return (
    <button type="button" {...rest} class={`button ${kind}${small ? ' small' : ''}${children ? '' : ' bare'}`}
      disabled={disabled} aria-busy={busy || undefined} aria-disabled={busy || undefined}
      onClick={busy ? undefined : rest.onClick}>
      {busy ? <Icon of="spin" spin /> : icon && <Icon of={icon} />}
      {children && <span>{children}</span>}
    </button>
  );
}

const states: Record<JobState, Shape> = {
  queued: 'queue', running: 'download', waiting: 'clock', idle: 'check', paused: 'pause', failing: 'alert',
  attention: 'person', finished: 'flag',
};
export const State = ({ of }: { of: JobState }) => (
  <span class={`state ${of}`}><Icon of={states[of] ?? 'dots'} />{t(`state.${of}` as Key)}</span>
);

export function When({ at }: { at: number }) {
  const clock = useMemo(ownClock, []);
  return <time dateTime={new Date(at * 1000).toISOString()} title={moment(at)}>{ago(at, clock.value)}</time>;
}

/** What strangers wrote: shown as text, in a direction of its own, however long. */
export const Foreign = ({ text, limit }: { text: string; limit?: number }) => <bdi class="foreign">{plain(text, limit)}</bdi>;

export function Meter({ value, of, label, text }: { value: number; of: number; label: string; text: string }) {
  const share = of > 0 ? Math.min(1, value / of) : 0;
  return (
    <div class={of > 0 ? 'meter' : 'meter unknown'} role="progressbar" aria-label={label} aria-valuemin={0}
      aria-valuemax={100} aria-valuenow={of > 0 ? Math.floor(share * 100) : undefined} aria-valuetext={text}>
      <div style={{ width: of > 0 ? `${(share * 100).toFixed(2)}%` : '100%' }} />
    </div>
  );
}

export function Spark({ values }: { values: number[] }) {
  if (values.length < 3) return <span class="spark" />;
  const top = Math.max(...values, 1);
  const points = values.map((value, at) => `${((at * 96) / (values.length - 1)).toFixed(1)} ${(22 - (value * 20) / top).toFixed(1)}`);
  return (
    <svg class="spark" viewBox="0 0 96 24" preserveAspectRatio="none" aria-hidden="true">
      <path class="area" d={`M0 24L${points.join('L')}L96 24Z`} /><path d={`M${points.join('L')}`} />
    </svg>
  );
}

type NoticeKind = 'bad' | 'warn' | 'good' | 'info';
const noticeShapes: Record<NoticeKind, Shape> = { bad: 'alert', warn: 'clock', good: 'check', info: 'mail' };
export function Notice({ kind, title, children, role }: { kind: NoticeKind; title?: ComponentChildren; children?: ComponentChildren; role?: 'alert' | 'status' }) {
  return (
    <div class={`notice ${kind}`} role={role}>
      <Icon of={noticeShapes[kind]} />
      <div>{title && <strong>{title}</strong>}{children && <div>{children}</div>}</div>
    </div>
  );
}

export function Trouble({ of }: { of: unknown }) {
  if (!of) return null;
  const problem = of instanceof Problem ? of : null;
  if (problem?.status === 0) return <Notice kind="bad" role="alert" title={t('error.unreachable')}>{t('error.unreachable.advice')}</Notice>;
  if (problem?.status === 412) return <Notice kind="bad" role="alert" title={t('error.changed')}>{t('error.changed.advice')}</Notice>;
  return (
    <Notice kind="bad" role="alert" title={<Foreign text={problem?.detail || String((of as Error).message ?? of)} />}>
      {problem?.advice && <Foreign text={problem.advice} />}
    </Notice>
  );
}

type FieldProps = {
  label: string; hint?: ComponentChildren; error?: string; children: (attributes: { id: string; 'aria-describedby'?: string; 'aria-invalid'?: boolean }) => ComponentChildren; wide?: boolean;
};
export function Field({ label, hint, error, children, wide }: FieldProps) {
  const id = useId();
  const notes = [hint && `${id}h`, error && `${id}e`].filter(Boolean).join(' ');
  return (
    <div class={wide ? 'field wide' : 'field'}>
      <label for={id}>{label}</label>
      {children({ id, 'aria-describedby': notes || undefined, 'aria-invalid': error ? true : undefined })}
      {hint && <p class="hint" id={`${id}h`}>{hint}</p>}
      {error && <p class="hint wrong" id={`${id}e`}>{error}</p>}
    </div>
  );
}

export function Secret({ value, onInput, fresh, ...rest }: { value: string; onInput: (value: string) => void; fresh?: boolean } & Record<string, unknown>) {
  const shown = useSignal(false);
  return (
    <div class="secret">
      <input {...rest} type={(shown.value ? 'text' : 'password') as 'password'} value={value} spellcheck={false} autoCapitalize="off"
        autoComplete={fresh ? 'new-password' : 'current-password'} onInput={(event) => onInput(event.currentTarget.value)} />
      <button type="button" class="button quiet small" aria-pressed={shown.value} onClick={() => (shown.value = !shown.value)}>
        {shown.value ? t('hide') : t('show')}
      </button>
    </div>
  );
}

export function Dialog({ title, onClose, children, fixed }: { title: string; onClose: () => void; children: ComponentChildren; fixed?: boolean }) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    element.current?.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={element} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); if (!fixed) onClose(); }}>
      <header><h2 id={id}>{title}</h2>
        {!fixed && <Button kind="quiet" icon="cross" aria-label={t('close')} onClick={onClose} />}</header>
      {children}
    </dialog>
  );
}

/** Does something that cannot be taken back, once its name was typed. */
export function Confirm({ title, word, action, onDone, onClose, children }: {
  title: string; word: string; action: string; onDone: () => Promise<unknown>; onClose: () => void; children: ComponentChildren;
}) {
  const typed = useSignal('');
  const busy = useSignal(false);
  const trouble = useSignal<unknown>(null);
  const right = typed.value.trim() === word.trim();
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!right || busy.value) return;
    busy.value = true;
    try {
      await onDone();
      onClose();
    } catch (problem) {
      trouble.value = problem;
    }
    busy.value = false;
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={submit}>
        <div class="prose">{children}</div>
        <Field label={t('confirm.type', { word: plain(word, 100) })}>
          {(attributes) => <input {...attributes} value={typed.value} autoComplete="off" spellcheck={false} autoFocus
            onInput={(event) => (typed.value = event.currentTarget.value)} />}
        </Field>
        <Trouble of={trouble.value} />
        <footer><Button onClick={onClose}>{t('cancel')}</Button>
          <Button kind="danger" type="submit" disabled={!right} busy={busy.value}>{action}</Button></footer>
      </form>
    </Dialog>
  );
}

/** The heading of a screen: it takes the focus when the screen appears, so that readers begin there, unless a field wants it. */
export function Title({ children, text }: { children?: ComponentChildren; text: string }) {
  const element = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${text} · Mailhaul`;
  }, [text]);
  useEffect(() => {
    if (!document.activeElement || document.activeElement === document.body || document.activeElement.tagName === 'A')
      (document.querySelector<HTMLElement>('main [autofocus]') ?? element.current)?.focus({ preventScroll: true });
  }, []);
  return <h1 tabIndex={-1} ref={element}>{children ?? text}</h1>;
}

export const Loading = () => <p class="loading" role="status"><Icon of="spin" spin />{t('loading')}</p>;

export function Empty({ icon, title, children }: { icon: Shape; title: string; children?: ComponentChildren }) {
  return <div class="empty"><Icon of={icon} /><h2>{title}</h2>{children}</div>;
}

/** What screen readers are told, not oftener than they can say it. */
export const spoken = signal('');
let saidAt = 0;
export function say(text: string, urgent = false) {
  if (!urgent && Date.now() - saidAt < 5000) return;
  saidAt = Date.now();
  spoken.value = text;
}

export const toast = signal<{ text: string; bad?: boolean } | null>(null);
let toastTimer: ReturnType<typeof setTimeout>;
export function tell(text: string, bad = false) {
  toast.value = { text, bad };
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (toast.value = null), bad ? 12000 : 5000);
}
export const complain = (problem: unknown) => {
  const known = problem instanceof Problem ? problem : null;
  tell(known?.status === 0 ? t('error.unreachable') : plain([known?.detail ?? String(problem), known?.advice].filter(Boolean).join(' · '), 400), true);
};

export const may = (scope: 'write' | 'run' | 'admin') => {
  const role = session.value?.role;
  return role === 'owner' || (role === 'operator' && scope !== 'admin');
};

export function save(name: string, type: string, text: string) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function Tabs({ label, items, at }: { label: string; items: { to: string; text: string; mark?: number }[]; at: string }) {
  return (
    <nav class="tabs" aria-label={label}>
      {items.map((item) => (
        <a key={item.to} href={`#${item.to}`} aria-current={item.to === at ? 'page' : undefined}>
          {item.text}{item.mark ? <span class="mark">{item.mark}</span> : null}
        </a>
      ))}
    </nav>
  );
}
