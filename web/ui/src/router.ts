// Routes live behind the '#', so that the page works below any path of any proxy.
import { signal } from '@preact/signals';

/** What a provider sent this browser back with (OAuth): out of the address before anybody reads it there. */
export const answer = /[?&]state=/.test(location.search) ? location.search.slice(1) : '';
if (answer) history.replaceState(null, '', `${location.pathname}#/consent`);

const read = () => decodeURI(location.hash.slice(1)) || '/';
export const route = signal(read());
export const parts = () => route.value.split('/').filter(Boolean);
addEventListener('hashchange', () => (route.value = read()));
export function go(path: string, replace = false) {
  if (replace) {
    history.replaceState(null, '', '#' + path);
    route.value = path;
  } else {
    location.hash = path;
  }
}
