// The API as it describes itself, with a way to try it as the user who is logged in.
import { signal, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { root, session } from '../api';
import { t } from '../i18n';
import { Button, Field, Icon, Loading, Title, Trouble } from '../ui';

/* eslint-disable @typescript-eslint/no-explicit-any */
type Any = any;
const description = signal<Any>(null);
const trouble = signal<unknown>(null);

function resolve(thing: Any): Any {
  for (let hops = 0; thing?.$ref && hops < 10; ++hops)
    thing = thing.$ref.slice(2).split('/').reduce((at: Any, step: string) => at?.[step], description.value);
  return thing ?? {};
}

function sample(schema: Any, depth = 0): Any {
  schema = resolve(schema);
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.type === 'object') return depth > 4 ? {} : Object.fromEntries(Object.entries(schema.properties ?? {}).filter(([name]) => schema.required?.includes(name) || depth === 0).map(([name, part]) => [name, sample(part, depth + 1)]));
  if (schema.type === 'array') return depth > 4 ? [] : [sample(schema.items, depth + 1)];
  return schema.type === 'integer' || schema.type === 'number' ? (schema.minimum ?? 0) : schema.type === 'boolean' ? false : '';
}

function Schema({ of, depth = 0 }: { of: Any; depth?: number }) {
  const schema = resolve(of);
  if (schema.type === 'array') return <>[<Schema of={schema.items} depth={depth} />]</>;
  if (schema.type !== 'object' || depth > 2) return <span class="type">{of?.$ref?.split('/').pop() ?? schema.type}{schema.enum && `: ${schema.enum.join(' | ')}`}</span>;
  return (
    <dl class="schema">{Object.entries<Any>(schema.properties ?? {}).map(([name, part]) => (
      <div key={name}><dt><code>{name}</code>{schema.required?.includes(name) && <span class="needed">{t('api.required')}</span>}</dt><dd><Schema of={part} depth={depth + 1} />{part.description && <small> {part.description}</small>}</dd></div>))}</dl>
  );
}

function Try({ method, path, operation, shared }: { method: string; path: string; operation: Any; shared: Any[] }) {
  const parameters: Any[] = [...shared, ...(operation.parameters ?? [])].map(resolve);
  const body = resolve(operation.requestBody).content;
  const kind = body ? Object.keys(body)[0] : '';
  const values = useSignal<Record<string, string>>({});
  const text = useSignal(kind === 'application/json' ? JSON.stringify(sample(body[kind].schema), null, 2) : '');
  const answer = useSignal<{ status: string; text: string } | null>(null);
  const busy = useSignal(false);
  const url = () => {
    const at = new URL(root + path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values.value[name] || '1')));
    for (const one of parameters) if (one.in === 'query' && values.value[one.name]) at.searchParams.set(one.name, values.value[one.name]);
    return at.href;
  };
  const send = async (event: Event) => {
    event.preventDefault();
    busy.value = true;
    try {
      const headers: Record<string, string> = { Accept: 'application/json' };
      if (method !== 'get') headers['X-CSRF-Token'] = session.value?.csrf ?? '';
      if (kind) headers['Content-Type'] = kind;
      for (const one of parameters) if (one.in === 'header' && values.value[one.name]) headers[one.name] = values.value[one.name];
      const response = await fetch(url(), { method: method.toUpperCase(), headers, body: kind ? text.value : undefined });
      let said = await response.text();
      try { said = JSON.stringify(JSON.parse(said), null, 2); } catch { /* shown as it is */ }
      answer.value = { status: `${response.status} ${response.statusText}`, text: said.slice(0, 50000) };
    } catch (problem) {
      answer.value = { status: t('error.unreachable'), text: String(problem) };
    }
    busy.value = false;
  };
  const shell = (word: string) => `'${word.replace(/'/g, "'\\''")}'`;
  return (
    <form class="try" onSubmit={send}>
      {parameters.length > 0 && <div class="grid">{parameters.map((one) => <Field key={one.name} label={`${one.name} (${one.in})`} hint={one.description}>{(attributes) => <input {...attributes} required={one.required} value={values.value[one.name] ?? ''} onInput={(event) => (values.value = { ...values.value, [one.name]: event.currentTarget.value })} />}</Field>)}</div>}
      {kind && <Field label={`${t('api.body')} (${kind})`}>{(attributes) => <textarea {...attributes} class="code" rows={Math.min(14, text.value.split('\n').length + 1)} spellcheck={false} value={text.value} onInput={(event) => (text.value = event.currentTarget.value)} />}</Field>}
      <pre class="code" tabIndex={0} aria-label="curl">{`curl -H 'Authorization: Bearer TOKEN'${method === 'get' ? '' : ` -X ${method.toUpperCase()}`}${kind ? ` \\\n  -H 'Content-Type: ${kind}' -d ${shell(text.value.replace(/\s*\n\s*/g, ' '))}` : ''} \\\n  ${shell(url())}`}</pre>
      <p class="buttons"><Button type="submit" kind={method === 'get' ? 'main' : 'danger'} busy={busy.value}>{t('api.send')}</Button></p>
      {answer.value && <div role="status"><p><b>{answer.value.status}</b></p><pre class="code answer" tabIndex={0} aria-label={t('api.answer')}>{answer.value.text}</pre></div>}
    </form>
  );
}

function Operation({ method, path, operation, shared }: { method: string; path: string; operation: Any; shared: Any[] }) {
  const open = useSignal(false);
  return (
    <details class="operation" onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary><span class={`method ${method}`}>{method.toUpperCase()}</span> <code>{path}</code> <span class="summary-text">{operation.summary}</span></summary>
      {open.value && <div class="inside">
        {operation.description && <p>{operation.description}</p>}
        {operation.requestBody && <><h4>{t('api.body')}</h4><Schema of={Object.values<Any>(resolve(operation.requestBody).content)[0].schema} /></>}
        {Object.entries<Any>(operation.responses).map(([status, response]) => { const one = resolve(response); const content = Object.values<Any>(one.content ?? {})[0];
          return <div key={status}><h4>{status} · {one.description}</h4>{content && status !== 'default' && <Schema of={content.schema} />}</div>; })}
        <h4>{t('api.try')}</h4><Try method={method} path={path} operation={operation} shared={shared} />
      </div>}
    </details>
  );
}

export function Docs() {
  useEffect(() => {
    if (!description.value) fetch(`${root}/openapi.json`).then(async (response) => { if (!response.ok) throw new Error(`openapi.json: ${response.status}`); description.value = await response.json(); }).catch((problem) => (trouble.value = problem));
  }, []);
  const document = description.value;
  return (
    <>
      <div class="head-line"><Title text={t('nav.api')} /><a class="button plain" href={`${root}/openapi.json`} download="mailhaul-openapi.json"><Icon of="download" /><span>openapi.json</span></a></div>
      {!document ? (trouble.value ? <Trouble of={trouble.value} /> : <Loading />) : <>
        <p class="lead">{document.info?.description}</p>
        {(document.tags ?? []).map((tag: Any) => (
          <section key={tag.name}><h2>{tag.name}</h2><p class="hint">{tag.description}</p>
            {Object.entries<Any>(document.paths).flatMap(([path, methods]) => Object.entries<Any>(methods).filter(([, operation]) => operation.tags?.includes(tag.name)).map(([method, operation]) => (
              <Operation key={method + path} method={method} path={path} operation={operation} shared={methods.parameters ?? []} />)))}
          </section>))}
      </>}
    </>
  );
}
