// Calls with the official SDKs. `options`: text, retries, and where wanted model and tools (true: offer a tool).

const MODEL = {
  openai: 'gpt-4o-mini',
  gemini: 'gemini-2.5-flash',
  anthropic: 'claude-sonnet-4-5',
  bedrock: 'anthropic.claude-3-5-sonnet-20241022-v2:0',
};
const PARAMETERS = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const WEATHER = { name: 'weather', description: 'The weather in a city.' };

const openai = async ({ retries = 0 }) => {
  const { default: OpenAI } = await import('openai');
  return new OpenAI({ maxRetries: retries });
};
const openaiAsk = ({ text, model, tools }) => ({
  model: model ?? MODEL.openai,
  messages: [{ role: 'user', content: text }],
  ...(tools && { tools: [{ type: 'function', function: { ...WEATHER, parameters: PARAMETERS } }] }),
});

const anthropic = async ({ retries = 0 }) => {
  const { default: Anthropic } = await import('@anthropic-ai/sdk');
  return new Anthropic({ maxRetries: retries });
};
const anthropicAsk = ({ text, tools }) => ({
  model: MODEL.anthropic,
  max_tokens: 64,
  messages: [{ role: 'user', content: text }],
  ...(tools && { tools: [{ ...WEATHER, input_schema: PARAMETERS }] }),
});

const gemini = async ({ retries = 0 }) => {
  const { GoogleGenAI } = await import('@google/genai');
  const httpOptions = { retryOptions: { attempts: retries + 1 } };
  if (process.env.GOOGLE_GEMINI_BASE_URL) httpOptions.baseUrl = process.env.GOOGLE_GEMINI_BASE_URL;
  return new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY, httpOptions });
};
const geminiAsk = ({ text, model, tools, signal }) => ({
  model: model ?? MODEL.gemini,
  contents: text,
  config: {
    abortSignal: signal,
    ...(tools && { tools: [{ functionDeclarations: [{ ...WEATHER, parametersJsonSchema: PARAMETERS }] }] }),
  },
});

function bedrock(makeHandler) {
  const make = async ({ retries = 0 }) => {
    const aws = await import('@aws-sdk/client-bedrock-runtime');
    return [aws, new aws.BedrockRuntimeClient({ maxAttempts: retries + 1, ...(await makeHandler()) })];
  };
  const ask = ({ text, model, tools }) => ({
    modelId: model ?? MODEL.bedrock,
    messages: [{ role: 'user', content: [{ text }] }],
    ...(tools && { toolConfig: { tools: [{ toolSpec: { ...WEATHER, inputSchema: { json: PARAMETERS } } }] } }),
  });
  const invoked = ({ text, model }) => ({
    modelId: model ?? MODEL.bedrock,
    body: JSON.stringify({
      anthropic_version: 'bedrock-2023-05-31', max_tokens: 9, messages: [{ role: 'user', content: text }],
    }),
  });
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
    async invoke(options) {
      const [aws, client] = await make(options);
      const answer = await client.send(new aws.InvokeModelCommand(invoked(options)));
      client.destroy();
      return JSON.parse(answer.body.transformToString());
    },
    async *invoke_stream(options) {
      const [aws, client] = await make(options);
      const answer = await client.send(new aws.InvokeModelWithResponseStreamCommand(invoked(options)));
      for await (const { chunk } of answer.body) {
        yield JSON.parse(new TextDecoder().decode(chunk.bytes));
      }
      client.destroy();
    },
    async embed(options) {
      const [aws, client] = await make(options);
      const asked = { modelId: 'amazon.titan-embed-text-v2:0', body: JSON.stringify({ inputText: options.text }) };
      const answer = await client.send(new aws.InvokeModelCommand(asked));
      client.destroy();
      return JSON.parse(answer.body.transformToString());
    },
  };
}

async function collected(listing, wanted) {
  const found = [];
  for await (const item of await listing) found.push(wanted(item));
  return found;
}

export const sdks = {
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
    async responses(options) {
      const answer = await (await openai(options)).responses.create({ model: MODEL.openai, input: options.text });
      return [answer.output_text, answer.usage];
    },
    async embed(options) {
      const answer = await (await openai(options)).embeddings.create(
        { model: 'text-embedding-3-small', input: [options.text, 'two'] });
      return [answer.data, answer.usage];
    },
    models: async (options) => collected((await openai(options)).models.list(), (model) => model.id),
    async files(options) {
      const { toFile } = await import('openai');
      const { files } = await openai(options);
      const file = await files.create({ file: await toFile(Buffer.from(options.text), 'notes.jsonl'), purpose: 'batch' });
      const found = await files.retrieve(file.id);
      const content = await (await files.content(file.id)).text();
      return [found.filename, found.bytes, content, (await files.delete(file.id)).deleted];
    },
    async transcribe(options) {
      const { toFile } = await import('openai');
      const file = await toFile(Buffer.from(options.text), 'speech.wav');
      return (await (await openai(options)).audio.transcriptions.create({ model: 'whisper-1', file })).text;
    },
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
    async count(options) {
      const { max_tokens: _, ...asked } = anthropicAsk(options);
      return (await anthropic(options)).messages.countTokens(asked);
    },
    models: async (options) => collected((await anthropic(options)).models.list(), (model) => model.id),
    async files(options) {
      const { toFile } = await import('@anthropic-ai/sdk');
      const { files } = (await anthropic(options)).beta;
      const file = await files.upload({ file: await toFile(Buffer.from(options.text), 'notes.txt', { type: 'text/plain' }) });
      const found = await files.retrieveMetadata(file.id);
      await files.delete(file.id);
      return [found.filename, found.size_bytes];
    },
  },
  gemini: {
    async chat(options) {
      const answer = await (await gemini(options)).models.generateContent(geminiAsk(options));
      return [answer.text, answer.functionCalls, answer.usageMetadata];
    },
    async *stream(options) {
      const stream = await (await gemini(options)).models.generateContentStream(geminiAsk(options));
      for await (const chunk of stream) yield [chunk.text, chunk.functionCalls, chunk.usageMetadata];
    },
    unknown: async (options) => (await gemini(options)).batches.list(),
    async embed(options) {
      const asked = { model: 'gemini-embedding-001', contents: [options.text, 'two'] };
      return (await (await gemini(options)).models.embedContent(asked)).embeddings;
    },
    async count(options) {
      const asked = { model: MODEL.gemini, contents: options.text };
      return (await (await gemini(options)).models.countTokens(asked)).totalTokens;
    },
    models: async (options) => collected(await (await gemini(options)).models.list(), (model) => model.name),
    async files(options) {
      const { files } = await gemini(options);
      const blob = new Blob([options.text], { type: 'text/plain' });
      const file = await files.upload({ file: blob, config: { mimeType: 'text/plain', displayName: 'notes' } });
      const found = await files.get({ name: file.name });
      await files.delete({ name: file.name });
      return [file.mimeType, Number(file.sizeBytes), found.displayName];
    },
  },
  bedrock: bedrock(async () => ({})),
  'bedrock-http1': bedrock(async () => {
    const { NodeHttpHandler } = await import('@smithy/node-http-handler');
    return { requestHandler: new NodeHttpHandler() };
  }),
};
