// The contract of test_web.py in node: a cluster of two workers that share the port.
const cluster = require('cluster');
const crypto = require('crypto');
const http = require('http');

function blob(size) {
  const data = Buffer.alloc(size);
  for (let i = 0; i < size; i++) data[i] = i % 251;
  return data;
}

function digest(stream, done) {
  const total = crypto.createHash('sha256');
  stream.on('data', (part) => total.update(part));
  stream.on('end', () => done(total.digest('hex')));
}

function serve(request, response) {
  const [, name, argument] = request.url.split('/');
  if (name === 'blob') {
    response.end(blob(Number(argument)));
  } else if (name === 'chunks') {
    for (let i = 0; i < Number(argument); i++) response.write(`${i}\n`);
    response.end();
  } else if (name === 'digest') {
    digest(request, (text) => response.end(text));
  } else if (name === 'fetch') {
    let url = '';
    request.on('data', (part) => { url += part; });
    request.on('end', () => http.get(url, (answer) => digest(answer, (text) => response.end(text))));
  } else {
    response.statusCode = 404;
    response.end();
  }
}

const isPrimary = cluster.isPrimary === undefined ? cluster.isMaster : cluster.isPrimary;
if (isPrimary) {
  const workers = [cluster.fork(), cluster.fork()];
  process.on('SIGTERM', () => { workers.forEach((worker) => worker.kill()); process.exit(0); });
} else {
  http.createServer(serve).listen(Number(process.argv[3]), process.argv[2]);
}
