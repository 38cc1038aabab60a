// The dashboard as people use it, against the real service and a real mail server; dashboard.py starts both. The order
// matters: the first scenarios set the service up.
import { after, before } from 'node:test';
import { close, open } from './browser.mjs';

before(open);
after(close);

await import('./scenarios/first_start.mjs');
await import('./scenarios/adding.mjs');
await import('./scenarios/consent.mjs');
await import('./scenarios/account.mjs');
await import('./scenarios/overview.mjs');
await import('./scenarios/system.mjs');
await import('./scenarios/appearance.mjs');
await import('./scenarios/mishaps.mjs');
