// Makes a plain Node program use HTTPS_PROXY. Loaded by NODE_OPTIONS=--require before the program.
//
// Node 24 does this by itself when NODE_USE_ENV_PROXY is set. Older ones know no proxy: their fetch (undici, built in)
// and their https module connect directly. Here both get connections that went through CONNECT.
'use strict';

const major = Number(process.versions.node.split('.')[0]);
const proxyText = process.env.HTTPS_PROXY || process.env.https_proxy;

if (proxyText && major < 24) {
  const http = require('node:http');
  const https = require('node:https');
  const tls = require('node:tls');

  const proxy = new URL(proxyText);
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const authorization = 'Basic ' + Buffer.from(credentials).toString('base64');
  const direct = (process.env.NO_PROXY || process.env.no_proxy || '').split(',').map((name) => name.trim());
  const goesDirect = (host) => !host || direct.some((name) => name === '*' || name === host || (name && host.endsWith('.' + name)));

  // Open a TLS connection to host:port through the proxy; done(error) or done(null, socket).
  function connectThrough(host, port, options, done) {
    const request = http.request({
      host: proxy.hostname,
      port: proxy.port || 80,
      method: 'CONNECT',
      path: `${host}:${port}`,
      headers: { host: `${host}:${port}`, 'proxy-authorization': authorization },
      agent: false,
    });
    request.once('connect', (answer, socket) => {
      if (answer.statusCode !== 200) {
        socket.destroy();
        done(new Error(`the proxy refused ${host}: ${answer.statusCode} ${answer.statusMessage}`));
        return;
      }
      const secure = tls.connect({ ...options, socket, host, port, servername: options.servername || host });
      secure.once('secureConnect', () => { secure.removeListener('error', done); done(null, secure); });
      secure.once('error', done);
    });
    request.once('error', done);
    request.end();
  }

  // The https module, and whatever makes its own https.Agent.
  const plainConnection = https.Agent.prototype.createConnection;
  https.Agent.prototype.createConnection = function createConnection(options, done) {
    const host = options.host || options.hostname;
    if (goesDirect(host)) return plainConnection.call(this, options, done);
    connectThrough(host, options.port || 443, { ...options, path: undefined }, done);
    return undefined;
  };

  // fetch: its dispatcher is shared under this symbol; its class takes a connector of one's own.
  const dispatcherSymbol = Symbol.for('undici.globalDispatcher.1');
  try { void fetch('data:,').catch(() => {}); } catch { /* a Node without fetch */ }
  const dispatcher = globalThis[dispatcherSymbol];
  if (dispatcher) {
    const Agent = dispatcher.constructor;
    const agent = new Agent({
      connect(options, done) {
        const { hostname, port, protocol } = options;
        if (protocol !== 'https:') {
          const socket = require('node:net').connect({ host: hostname, port: port || 80 });
          socket.once('connect', () => { socket.removeListener('error', done); done(null, socket); });
          socket.once('error', done);
          return;
        }
        const own = { servername: options.servername, ALPNProtocols: ['http/1.1'] };
        if (goesDirect(hostname)) {
          const secure = tls.connect({ ...own, host: hostname, port: port || 443, servername: own.servername || hostname });
          secure.once('secureConnect', () => { secure.removeListener('error', done); done(null, secure); });
          secure.once('error', done);
          return;
        }
        connectThrough(hostname, port || 443, own, done);
      },
    });
    globalThis[dispatcherSymbol] = agent;
  }
}
