// build.mjs SOURCE WORK OPENAPI OUTPUT: builds the page in WORK, compresses its files and writes them as one C++ file.
// WORK has node_modules already; the source folder is only read.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

const [source, work, openapi, output] = process.argv.slice(2);
const run = (tool, ...argument) => {
  try {
    execFileSync(path.join(work, 'node_modules/.bin', tool), argument, { cwd: work, stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    process.stderr.write(`${tool} failed\n${error.stdout ?? ''}${error.stderr ?? ''}${error.stdout ? '' : error.message}\n`);
    process.exit(1);
  }
};

for (const name of ['src', 'public', 'dist']) fs.rmSync(path.join(work, name), { recursive: true, force: true });
for (const name of ['src', 'public', 'index.html', 'tsconfig.json', 'vite.config.ts'])
  fs.cpSync(path.join(source, name), path.join(work, name), { recursive: true });
run('openapi-typescript', openapi, '--default-non-nullable=false', '-o', 'src/api.d.ts');
run('tsc');
run('vite', 'build', '--logLevel', 'error');

// The licences of what is in the bundle go with it.
const used = JSON.parse(fs.readFileSync(path.join(source, 'package.json'), 'utf8')).dependencies;
const inside = new Set(Object.keys(used));
for (const name of inside) {
  const { dependencies = {} } = JSON.parse(fs.readFileSync(path.join(work, 'node_modules', name, 'package.json'), 'utf8'));
  for (const one of Object.keys(dependencies)) inside.add(one);
}
fs.writeFileSync(path.join(work, 'dist/licenses.txt'), [...inside].sort().map((name) => {
  const folder = path.join(work, 'node_modules', name);
  const text = fs.readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  if (!text) throw new Error(`${name} brings no licence`);
  return `${name} ${JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).version}\n\n${fs.readFileSync(path.join(folder, text), 'utf8').trim()}\n`;
}).join(`\n${'-'.repeat(72)}\n\n`));

const mimes = { '.css': 'text/css; charset=utf-8', '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.svg': 'image/svg+xml', '.txt': 'text/plain; charset=utf-8' };
const dist = path.join(work, 'dist');
const files = fs.readdirSync(dist).flatMap((name) => (name === 'assets' ? fs.readdirSync(path.join(dist, name)).map((one) => `assets/${one}`) : [name])).sort();

const literal = (octets) => {
  const lines = [];
  for (let at = 0; at < octets.length; at += 48)
    lines.push('"' + Array.from(octets.subarray(at, at + 48), (one) => '\\' + one.toString(8).padStart(3, '0')).join('') + '"');
  return octets.length ? `std::string_view{\n${lines.join('\n')}, ${octets.length}}` : 'std::string_view{}';
};
const smaller = (packed, octets) => (packed.length < octets.length ? packed : Buffer.alloc(0));

let first = 0;
const entries = files.map((name) => {
  const octets = fs.readFileSync(path.join(dist, name));
  const mime = mimes[path.extname(name)];
  if (!mime) throw new Error(`${name}: what is its media type?`);
  const gzip = smaller(zlib.gzipSync(octets, { level: 9 }), octets);
  const brotli = smaller(zlib.brotliCompressSync(octets, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 11, [zlib.constants.BROTLI_PARAM_SIZE_HINT]: octets.length } }), octets);
  if (/^(index\.html|assets\/index-.*)$/.test(name)) first += gzip.length || octets.length;
  const etag = createHash('sha256').update(octets).digest('hex').slice(0, 32);
  return `    {"/${name}", "${mime}", "\\"${etag}\\"", ${name.startsWith('assets/')},\n${literal(octets)},\n${literal(gzip)},\n${literal(brotli)}},`;
});
const LIMIT = 40 * 1024;
if (first > LIMIT) {
  process.stderr.write(`The first load is ${first} octets compressed; ${LIMIT} are allowed.\n`);
  process.exit(1);
}
fs.writeFileSync(output, `#include "web/assets.h"

#include <array>

namespace mailhaul::web {
namespace {
constexpr std::array<Asset, ${files.length}> kAssets{{
${entries.join('\n')}
}};
}  // namespace

std::span<const Asset> assets() { return kAssets; }

}  // namespace mailhaul::web
`);
console.log(`dashboard: ${files.length} files, first load ${first} octets compressed`);
