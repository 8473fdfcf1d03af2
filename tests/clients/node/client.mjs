// Makes calls with the official SDKs for Node, and with Node's own fetch and https, as a program of a user would.
//
// Asked on stdin, answers on stdout, one JSON object a line:
//   {"client": "openai", "action": "chat" | "stream" | "unknown", "options": {"retries", "text", "leave"}}
//   {"value": what the SDK gave}  or  {"error": {"type", "status", "message"}}
// With `leave` a stream is aborted after its first event: {"value": [first event], "left": true}.
import https from 'node:https';
import { createInterface } from 'node:readline';

const MODEL = {
  openai: 'gpt-4o-mini',
  gemini: 'gemini-2.5-flash',
  anthropic: 'claude-sonnet-4-5',
  bedrock: 'anthropic.claude-3-5-sonnet-20241022-v2:0',
};

const openai = async ({ retries = 0 }) => {
  const { default: OpenAI } = await import('openai');
  return new OpenAI({ maxRetries: retries });
};
const openaiAsk = ({ text, model }) => ({ model: model ?? MODEL.openai, messages: [{ role: 'user', content: text }] });

const anthropic = async ({ retries = 0 }) => {
  const { default: Anthropic } = await import('@anthropic-ai/sdk');
  return new Anthropic({ maxRetries: retries });
};
const anthropicAsk = ({ text }) => ({
  model: MODEL.anthropic,
  max_tokens: 64,
  messages: [{ role: 'user', content: text }],
});

const gemini = async ({ retries = 0 }) => {
  const { GoogleGenAI } = await import('@google/genai');
  const httpOptions = { retryOptions: { attempts: retries + 1 } };
  if (process.env.GOOGLE_GEMINI_BASE_URL) httpOptions.baseUrl = process.env.GOOGLE_GEMINI_BASE_URL;
  return new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY, httpOptions });
};
const geminiAsk = ({ text, signal }) => ({ model: MODEL.gemini, contents: text, config: { abortSignal: signal } });

function bedrock(makeHandler) {
  const make = async ({ retries = 0 }) => {
    const aws = await import('@aws-sdk/client-bedrock-runtime');
    return [aws, new aws.BedrockRuntimeClient({ maxAttempts: retries + 1, ...(await makeHandler()) })];
  };
  const ask = ({ text }) => ({ modelId: MODEL.bedrock, messages: [{ role: 'user', content: [{ text }] }] });
  return {
    async chat(options) {
      const [aws, client] = await make(options);
      const answer = await client.send(new aws.ConverseCommand(ask(options)));
      client.destroy();
      return [answer.output, answer.usage, answer.stopReason];
    },
    async *stream(options) {
      const [aws, client] = await make(options);
      const answer = await client.send(new aws.ConverseStreamCommand(ask(options)), { abortSignal: options.signal });
      // The SDK listens to its signal until the head of the answer is there; after that destroying the client aborts.
      options.signal.addEventListener('abort', () => client.destroy());
      yield* answer.stream;
      client.destroy();
    },
    async unknown(options) {
      const [aws, client] = await make(options);
      await client.send(new aws.ListAsyncInvokesCommand({}));
    },
  };
}

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
    const request = https.request(rawUrl(path), { method: 'POST', headers: rawHead(), signal: options.signal });
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

const clients = {
  openai: {
    async chat(options) {
      const answer = await (await openai(options)).chat.completions.create(openaiAsk(options));
      return [answer.choices, answer.usage];
    },
    async *stream(options) {
      const stream = await (await openai(options)).chat.completions.create(
        { ...openaiAsk(options), stream: true }, { signal: options.signal });
      for await (const chunk of stream) yield [chunk.choices, chunk.usage];
    },
    unknown: async (options) => (await openai(options)).post('/no/such/operation', { body: {} }),
  },
  anthropic: {
    async chat(options) {
      const answer = await (await anthropic(options)).messages.create(anthropicAsk(options));
      return [answer.content, answer.usage, answer.stop_reason];
    },
    async *stream(options) {
      const stream = await (await anthropic(options)).messages.create(
        { ...anthropicAsk(options), stream: true }, { signal: options.signal });
      for await (const event of stream) yield event.type === 'message_start' ? event.type : event;
    },
    unknown: async (options) => (await anthropic(options)).post('/no/such/operation', { body: {} }),
  },
  gemini: {
    async chat(options) {
      const answer = await (await gemini(options)).models.generateContent(geminiAsk(options));
      return [answer.text, answer.usageMetadata];
    },
    async *stream(options) {
      const stream = await (await gemini(options)).models.generateContentStream(geminiAsk(options));
      for await (const chunk of stream) yield [chunk.text, chunk.usageMetadata];
    },
    unknown: async (options) => (await gemini(options)).batches.list(),
  },
  bedrock: bedrock(async () => ({})),
  'bedrock-http1': bedrock(async () => {
    const { NodeHttpHandler } = await import('@smithy/node-http-handler');
    return { requestHandler: new NodeHttpHandler() };
  }),
  fetch: {
    chat: async (options) => (await (await fetched(options, openaiAsk(options))).json()).choices,
    async *stream(options) {
      const answer = await fetched(options, { ...openaiAsk(options), stream: true });
      yield* answer.body.pipeThrough(new TextDecoderStream());
    },
    unknown: (options) => fetched(options, {}, '/no/such/operation'),
  },
  https: {
    async chat(options) {
      let text = '';
      for await (const part of await requested(options, openaiAsk(options))) text += part;
      return JSON.parse(text).choices;
    },
    async *stream(options) {
      yield* await requested(options, { ...openaiAsk(options), stream: true });
    },
    unknown: (options) => requested(options, {}, '/no/such/operation'),
  },
};

async function streamed(call, options, controller) {
  const events = [];
  try {
    for await (const event of call(options)) {
      events.push(event);
      if (options.leave) controller.abort();
    }
  } catch (error) {
    if (!options.leave) throw error;
  }
  return { value: events, left: Boolean(options.leave) };
}

async function answer({ client, action, options }) {
  const controller = new AbortController();
  options = { text: 'hello', ...options, signal: controller.signal };
  const call = clients[client][action];
  if (action === 'stream') return streamed(call, options, controller);
  return { value: await call(options) };
}

function described(error) {
  const status = error.status ?? error.$metadata?.httpStatusCode ?? null;
  return { type: error.name === 'Error' ? error.constructor.name : error.name, status, message: String(error.message) };
}

for await (const line of createInterface({ input: process.stdin })) {
  let result;
  try {
    result = await answer(JSON.parse(line));
  } catch (error) {
    result = { error: described(error) };
  }
  process.stdout.write(JSON.stringify(result) + '\n');
}
process.exit(0);
