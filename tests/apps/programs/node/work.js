// fs, streams, timers, child_process, worker_threads, cluster, http and unix sockets, crypto, zlib.
const assert = require('assert');
const child = require('child_process');
const crypto = require('crypto');
const events = require('events');
const fs = require('fs');
const http = require('http');
const net = require('net');
const path = require('path');
const { pipeline } = require('stream/promises');
const { promisify } = require('util');
const { Worker } = require('worker_threads');
const zlib = require('zlib');

async function files() {
  fs.mkdirSync('tree/deep', { recursive: true });
  await fs.promises.writeFile('tree/deep/file', 'content '.repeat(1000), { mode: 0o640 });
  const info = await fs.promises.stat('tree/deep/file');
  console.log(info.size, (info.mode & 0o777).toString(8), info.isFile());
  await fs.promises.symlink('file', 'tree/deep/link');
  await fs.promises.rename('tree/deep/file', 'tree/deep/moved');
  console.log(await fs.promises.readdir('tree', { recursive: false }), fs.existsSync('tree/deep/link'));
  await fs.promises.readFile('tree/none').catch((error) => console.log(error.code, error.syscall));
  await pipeline(fs.createReadStream('tree/deep/moved'), zlib.createGzip(), fs.createWriteStream('zipped'));
  console.log(zlib.gunzipSync(fs.readFileSync('zipped')).length);
  const changed = new Promise((done) => {
    const watcher = fs.watch('tree', (kind, name) => { watcher.close(); done([kind, name]); });
    fs.writeFileSync('tree/new', '');
  });
  console.log(await changed);
  await fs.promises.rm('tree', { recursive: true });
  console.log(fs.existsSync('tree'));
}

async function processes() {
  const run = promisify(child.execFile);
  console.log((await run('sh', ['-c', 'echo out; echo err >&2'])).stdout);
  await run('sh', ['-c', 'exit 4']).catch((error) => console.log('status', error.code));
  const cat = child.spawn('cat');
  cat.stdin.end('piped');
  const [data] = await events.once(cat.stdout, 'data');
  console.log(String(data), await events.once(cat, 'exit'));
  const sleeper = child.spawn('sleep', ['100']);
  sleeper.kill('SIGTERM');
  console.log(await events.once(sleeper, 'exit'));
  const fork = child.fork('child.js');
  fork.send({ n: 20 });
  console.log((await events.once(fork, 'message'))[0], await events.once(fork, 'exit'));
  console.log(child.execSync('echo sync', { encoding: 'utf8' }).trim(), child.spawnSync('nosuchprogram').error.code);
}

async function workers() {
  const code = 'const { parentPort, workerData } = require("worker_threads"); let s = 0; for (let i = 0; i <= workerData; i++) s += i; parentPort.postMessage(s);';
  const sums = [1000, 2000, 3000, 4000].map((n) => events.once(new Worker(code, { eval: true, workerData: n }), 'message'));
  console.log((await Promise.all(sums)).flat());
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const waker = new Worker('const { workerData } = require("worker_threads"); Atomics.store(workerData, 0, 7); Atomics.notify(workerData, 0);', { eval: true, workerData: shared });
  Atomics.wait(shared, 0, 0, 10000);
  console.log(shared[0]);
  await events.once(waker, 'exit');
}

async function sockets() {
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => { body += chunk; });
    request.on('end', () => response.end(`${request.method} ${request.url} ${body.length}`));
  });
  for (const where of [{ host: '127.0.0.1', port: 0 }, { path: path.resolve('socket') }]) {
    await new Promise((done) => server.listen(where, done));
    const target = where.path ? { socketPath: where.path } : { host: '127.0.0.1', port: server.address().port };
    const ask = (n) => new Promise((done, fail) => {
      const request = http.request({ ...target, path: `/${n}`, method: 'POST', agent: false }, async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        done(`${response.statusCode} ${text}`);
      });
      request.on('error', fail);
      request.end('x'.repeat(n * 10000));
    });
    console.log(await Promise.all([1, 2, 3, 30].map(ask)));
    await new Promise((done) => server.close(done));
  }
  await new Promise((done) => net.connect('nosocket').on('error', (error) => { console.log(error.code); done(); }));
}

async function main() {
  fs.writeFileSync('child.js', 'process.on("message", (m) => { process.send(m.n * 2); process.exit(3); });');
  await files();
  await processes();
  await workers();
  await sockets();
  console.log(crypto.createHash('sha256').update('abc').digest('hex'), (await promisify(crypto.scrypt)('p', 's', 16)).toString('hex'));
  assert.strictEqual(await promisify(setTimeout)(10, 'timer'), 'timer');
  process.on('SIGUSR2', () => { console.log('signal'); process.exit(6); });
  setInterval(() => {}, 1000);
  process.kill(process.pid, 'SIGUSR2');
}

main();
