// Calls with Node's own fetch and https, to OpenAI's API.
import http from 'node:http';
import https from 'node:https';

const ask = ({ text }) => ({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: text }] });
const rawUrl = (path = '/chat/completions') => (process.env.OPENAI_BASE_URL ?? 'https://api.openai.com/v1') + path;
const rawHead = () => ({ 'Content-Type': 'application/json', Authorization: `Bearer ${process.env.OPENAI_API_KEY}` });

class HttpError extends Error {
  constructor(status, text) {
    super(JSON.parse(text).error.message);
    this.status = status;
  }
}

async function fetched(options, body, path) {
  const answer = await fetch(rawUrl(path), {
    method: 'POST', headers: rawHead(), body: JSON.stringify(body), signal: options.signal,
  });
  if (!answer.ok) throw new HttpError(answer.status, await answer.text());
  return answer;
}

function requested(options, body, path) {
  return new Promise((resolve, reject) => {
    const { request: begin } = rawUrl().startsWith('https:') ? https : http;
    const request = begin(rawUrl(path), { method: 'POST', headers: rawHead(), signal: options.signal });
    request.on('error', reject);
    request.on('response', async (answer) => {
      answer.setEncoding('utf8');
      if (answer.statusCode === 200) return resolve(answer);
      let text = '';
      for await (const part of answer) text += part;
      return reject(new HttpError(answer.statusCode, text));
    });
    request.end(JSON.stringify(body));
  });
}

export const libraries = {
  fetch: {
    chat: async (options) => (await (await fetched(options, ask(options))).json()).choices,
    async *stream(options) {
      const answer = await fetched(options, { ...ask(options), stream: true });
      yield* answer.body.pipeThrough(new TextDecoderStream());
    },
    unknown: (options) => fetched(options, {}, '/no/such/operation'),
  },
  https: {
    async chat(options) {
      let text = '';
      for await (const part of await requested(options, ask(options))) text += part;
      return JSON.parse(text).choices;
    },
    async *stream(options) {
      yield* await requested(options, { ...ask(options), stream: true });
    },
    unknown: (options) => requested(options, {}, '/no/such/operation'),
  },
};
