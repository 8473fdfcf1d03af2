// Calls with the Vercel AI SDK: `ai` and its providers. Google's reads no base URL from the environment, and
// Anthropic's wants it with /v1, which Anthropic's own SDK does not.
const { env } = process;
const LANGUAGE_MODELS = {
  openai: async () => {
    const { createOpenAI } = await import('@ai-sdk/openai');
    return [createOpenAI()('gpt-4o-mini'), createOpenAI().embeddingModel('text-embedding-3-small')];
  },
  'openai-chat': async () => {
    const { createOpenAI } = await import('@ai-sdk/openai');
    return [createOpenAI().chat('gpt-4o-mini')];
  },
  gemini: async () => {
    const { createGoogleGenerativeAI } = await import('@ai-sdk/google');
    const google = createGoogleGenerativeAI({
      baseURL: `${env.GOOGLE_GEMINI_BASE_URL}/v1beta`, apiKey: env.GEMINI_API_KEY,
    });
    return [google('gemini-2.5-flash'), google.embeddingModel('gemini-embedding-001')];
  },
  anthropic: async () => {
    const { createAnthropic } = await import('@ai-sdk/anthropic');
    return [createAnthropic({ baseURL: `${env.ANTHROPIC_BASE_URL}/v1` })('claude-sonnet-4-5')];
  },
};

async function asked(provider, { text, tools, retries = 0, signal }) {
  const { tool } = await import('ai');
  const { z } = await import('zod');
  const [model] = await LANGUAGE_MODELS[provider]();
  const weather = () => tool({ description: 'The weather in a city.', inputSchema: z.object({ city: z.string() }) });
  return {
    model, prompt: text, maxRetries: retries, maxOutputTokens: 64, abortSignal: signal,
    ...(tools && { tools: { weather: weather() } }),
  };
}

const calls = (found) => found.map(({ toolName, input }) => [toolName, input]);

const client = (provider) => ({
  async chat(options) {
    const { generateText } = await import('ai');
    const answer = await generateText(await asked(provider, options));
    return [answer.text, calls(answer.toolCalls), answer.finishReason, answer.usage.totalTokens];
  },
  async *stream(options) {
    const { streamText } = await import('ai');
    const answer = streamText({ ...(await asked(provider, options)), onError: () => {} });
    for await (const part of answer.fullStream) {
      if (part.type === 'error') throw part.error;
      if (part.type === 'text-delta') yield part.text;
      if (part.type === 'tool-call') yield [part.toolName, part.input];
      if (part.type === 'finish') yield [part.finishReason, part.totalUsage.totalTokens];
    }
  },
  async embed({ text }) {
    const { embedMany } = await import('ai');
    const [, model] = await LANGUAGE_MODELS[provider]();
    return (await embedMany({ model, values: [text, 'two'], maxRetries: 0 })).embeddings;
  },
});

export const vercel = Object.fromEntries(
  Object.keys(LANGUAGE_MODELS).map((provider) => [`vercel-${provider}`, client(provider)]));
