// Makes a plain Node program use HTTPS_PROXY. Loaded by NODE_OPTIONS=--require before the program.
//
// If NODE_USE_ENV_PROXY is set, Node 24 does this for fetch, and for https without an https.Agent of the program's own.
// Older versions have no proxy support: their fetch (built-in undici) and their https module connect directly. No version
// supports it for http2, which the AWS SDK uses by default. Here all of them get connections through CONNECT.
'use strict';

const major = Number(process.versions.node.split('.')[0]);
const proxyText = process.env.HTTPS_PROXY || process.env.https_proxy;

if (proxyText) {
  const http = require('node:http');
  const http2 = require('node:http2');
  const https = require('node:https');
  const { syncBuiltinESMExports } = require('node:module');
  const { Duplex } = require('node:stream');
  const tls = require('node:tls');

  const proxy = new URL(proxyText);
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const identity = credentials === ':' ? {} : { 'proxy-authorization': 'Basic ' + Buffer.from(credentials).toString('base64') };
  const direct = (process.env.NO_PROXY || process.env.no_proxy || '').split(',').map((name) => name.trim());
  const goesDirect = (host) => !host || direct.some((name) => name === '*' || name === host || (name && host.endsWith('.' + name)));

  // Open a tunnel to host:port through the proxy; done(error) or done(null, socket). Destroy the returned request to cancel.
  function openTunnel(host, port, done) {
    const request = http.request({
      host: proxy.hostname,
      port: proxy.port || 80,
      method: 'CONNECT',
      path: `${host}:${port}`,
      headers: { host: `${host}:${port}`, ...identity },
      agent: false,
    });
    request.once('connect', (response, socket) => {
      if (response.statusCode === 200) {
        done(null, socket);
        return;
      }
      socket.destroy();
      done(new Error(`the proxy refused ${host}: ${response.statusCode} ${response.statusMessage}`));
    });
    request.once('error', done);
    request.end();
    return request;
  }

  // Open a TLS connection to host:port through the proxy; done(error) or done(null, socket).
  function connectThrough(host, port, options, done) {
    openTunnel(host, port, (error, socket) => {
      if (error) {
        done(error);
        return;
      }
      const secure = tls.connect({ ...options, socket, host, port, servername: options.servername || host });
      secure.once('secureConnect', () => { secure.removeListener('error', done); done(null, secure); });
      secure.once('error', done);
    });
  }

  // A stream to host:port that can be used at once: it buffers writes until the proxy has opened the tunnel.
  class Tunnel extends Duplex {
    constructor(host, port) {
      super();
      this.held = null;
      this.socket = null;
      this.keepsAlive = true;
      this.opening = openTunnel(host, port, (error, socket) => {
        if (error || this.destroyed) {
          if (socket) socket.destroy();
          this.destroy(error);
          return;
        }
        this.socket = socket;
        if (!this.keepsAlive) socket.unref();
        socket.on('data', (data) => { if (!this.push(data)) socket.pause(); });
        socket.on('end', () => this.push(null));
        socket.on('error', (failure) => this.destroy(failure));
        socket.on('close', () => this.destroy());
        if (this.held) this.held();
      });
    }
    whenOpen(action) {
      if (this.socket) action();
      else this.held = action;
    }
    _read() { if (this.socket) this.socket.resume(); }
    _write(data, _, done) { this.whenOpen(() => this.socket.write(data, done)); }
    _final(done) { this.whenOpen(() => this.socket.end(done)); }
    _destroy(error, done) {
      (this.socket || this.opening).destroy();
      done(error);
    }
    keepAlive(yes) {
      this.keepsAlive = yes;
      if (this.socket) this.socket[yes ? 'ref' : 'unref']();
    }
  }

  // http2: a session needs its socket at once. A program may end while a session is idle, so pass ref and unref on.
  const plainSession = http2.connect;
  http2.connect = function connect(authority, options, listener) {
    if (typeof options === 'function') [options, listener] = [undefined, options];
    const url = typeof authority === 'string' ? new URL(authority) : authority;
    const host = url.hostname || url.host;
    if (url.protocol !== 'https:' || (options && (options.createConnection || options.socket)) || goesDirect(host)) {
      return plainSession.call(this, authority, options, listener);
    }
    const createConnection = () => {
      const tunnel = new Tunnel(host, url.port || 443);
      const secure = tls.connect({ servername: host, ...options, socket: tunnel, ALPNProtocols: ['h2'] });
      secure.ref = () => { tunnel.keepAlive(true); return secure; };
      secure.unref = () => { tunnel.keepAlive(false); return secure; };
      return secure;
    };
    return plainSession.call(this, authority, { ...options, createConnection }, listener);
  };

  // A request that brings a way to connect, and no agent: the ws package, with which SDKs open WebSockets.
  const plainRequest = https.request;
  https.request = function request(options, ...rest) {
    const brings = options && !(options instanceof URL) && typeof options.createConnection === 'function' && !options.agent;
    const host = brings && (options.hostname || options.host);
    if (!brings || goesDirect(host)) return plainRequest.call(this, options, ...rest);
    const createConnection = (own, done) => {
      connectThrough(host, own.port || 443, { ...own, createConnection: undefined, path: undefined }, done);
    };
    return plainRequest.call(this, { ...options, createConnection }, ...rest);
  };
  syncBuiltinESMExports();

  // The https module, and programs with an https.Agent of their own.
  const plainConnection = https.Agent.prototype.createConnection;
  https.Agent.prototype.createConnection = function createConnection(options, done) {
    const host = options.host || options.hostname;
    if (goesDirect(host)) return plainConnection.call(this, options, done);
    connectThrough(host, options.port || 443, { ...options, path: undefined }, done);
    return undefined;
  };

  if (major < 24) {
    // fetch: its dispatcher is shared under this symbol, and its class accepts a custom connector.
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
}
