// Holds whole sessions with the SDKs for Node: tools, an image, reasoning, a forced tool and a structured response.
//
// One JSON object a line on stdin: {client, streamed, models, asks, tools, schema, system, png, gateway, token, pair},
// with one model for each turn. One line on stdout: {turns: [{text, calls: [[name, arguments]]}]} or {error}.
import { createInterface } from 'node:readline';

const join = (parts) => parts.join('');

// Every client: say(ask), results([[call, text]]), turn(model, ask) → {text, calls: [{id, name, input}]}.
const clients = {
  async 'openai.chat'({ gateway, token, tools, schema, system, png, streamed }) {
    const { default: OpenAI } = await import('openai');
    const client = new OpenAI({ apiKey: token, baseURL: `${gateway}/v1`, maxRetries: 0 });
    const messages = [{ role: 'system', content: system }];
    return {
      say({ text, image }) {
        const url = { type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } };
        messages.push({ role: 'user', content: image ? [{ type: 'text', text }, url] : text });
      },
      results(results) {
        for (const [{ id }, content] of results) messages.push({ role: 'tool', tool_call_id: id, content });
      },
      async turn(model, { forced, structured }) {
        const asked = {
          model, messages, max_completion_tokens: 8000,
          tools: Object.entries(tools).map(([name, parameters]) => (
            { type: 'function', function: { name, description: `The ${name}`, parameters } })),
          ...(!model.startsWith('to-chat') && { reasoning_effort: 'medium' }),
          ...(forced && { tool_choice: { type: 'function', function: { name: forced } } }),
          ...(structured && {
            response_format: { type: 'json_schema', json_schema: { name: 'forecast', schema, strict: true } },
          }),
        };
        const made = streamed
          ? await client.chat.completions.stream({ ...asked, stream: true }).finalChatCompletion()
          : await client.chat.completions.create(asked);
        const { role, content, tool_calls: calls } = made.choices[0].message;
        messages.push({ role, content, ...(calls?.length && { tool_calls: calls.map(({ id, type, function: called }) => (
          { id, type, function: { name: called.name, arguments: called.arguments } })) }) });
        return {
          text: content ?? '',
          calls: (calls ?? []).map((call) => (
            { id: call.id, name: call.function.name, input: JSON.parse(call.function.arguments) })),
        };
      },
    };
  },

  async 'openai.responses'({ gateway, token, tools, schema, system, png, streamed }) {
    const { default: OpenAI } = await import('openai');
    const client = new OpenAI({ apiKey: token, baseURL: `${gateway}/v1`, maxRetries: 0 });
    const items = [];
    return {
      say({ text, image }) {
        const part = { type: 'input_image', image_url: `data:image/png;base64,${png}`, detail: 'auto' };
        items.push({ role: 'user', content: [{ type: 'input_text', text }, ...(image ? [part] : [])] });
      },
      results(results) {
        for (const [{ id }, output] of results) items.push({ type: 'function_call_output', call_id: id, output });
      },
      async turn(model, { forced, structured }) {
        const asked = {
          model, input: items, instructions: system, store: false, max_output_tokens: 8000,
          tools: Object.entries(tools).map(([name, parameters]) => (
            { type: 'function', name, description: `The ${name}`, parameters, strict: false })),
          ...(!model.startsWith('to-chat') && {
            reasoning: { effort: 'medium', summary: 'auto' }, include: ['reasoning.encrypted_content'],
          }),
          ...(forced && { tool_choice: { type: 'function', name: forced } }),
          ...(structured && { text: { format: { type: 'json_schema', name: 'forecast', schema, strict: true } } }),
        };
        const made = streamed
          ? await client.responses.stream(asked).finalResponse()
          : await client.responses.create(asked);
        items.push(...made.output.map(({ parsed_arguments: _, ...item }) => item.type !== 'message' ? item
          : { ...item, content: item.content.map(({ parsed: __, ...part }) => part) }));
        return {
          text: made.output_text,
          calls: made.output.filter((item) => item.type === 'function_call').map((item) => (
            { id: item.call_id, name: item.name, input: JSON.parse(item.arguments) })),
        };
      },
    };
  },

  async gemini({ gateway, token, tools, schema, system, png, streamed }) {
    const { GoogleGenAI } = await import('@google/genai');
    const client = new GoogleGenAI({ apiKey: token, httpOptions: { baseUrl: gateway } });
    const contents = [];
    return {
      say({ text, image }) {
        const part = { inlineData: { mimeType: 'image/png', data: png } };
        contents.push({ role: 'user', parts: [{ text }, ...(image ? [part] : [])] });
      },
      results(results) {
        contents.push({ role: 'user', parts: results.map(([{ id, name }, output]) => (
          { functionResponse: { ...(id && { id }), name, response: { output } } })) });
      },
      async turn(model, { forced, structured }) {
        const functions = Object.entries(tools).map(([name, parametersJsonSchema]) => (
          { name, description: `The ${name}`, parametersJsonSchema }));
        const config = {
          systemInstruction: system, maxOutputTokens: 8000, tools: [{ functionDeclarations: functions }],
          thinkingConfig: { includeThoughts: true, thinkingLevel: 'HIGH' },
          ...(forced && { toolConfig: { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: [forced] } } }),
          ...(structured && { responseMimeType: 'application/json', responseJsonSchema: schema }),
        };
        const chunks = [];
        if (streamed) {
          for await (const chunk of await client.models.generateContentStream({ model, contents, config })) {
            chunks.push(chunk);
          }
        } else {
          chunks.push(await client.models.generateContent({ model, contents, config }));
        }
        const parts = chunks.flatMap((chunk) => chunk.candidates[0].content.parts ?? []);
        contents.push({ role: 'model', parts });
        return {
          text: join(parts.filter((part) => part.text && !part.thought).map((part) => part.text)),
          calls: parts.filter((part) => part.functionCall).map(({ functionCall: { id, name, args } }) => (
            { id, name, input: args ?? {} })),
        };
      },
    };
  },

  async anthropic({ gateway, token, tools, schema, system, png, streamed }) {
    const { default: Anthropic } = await import('@anthropic-ai/sdk');
    const client = new Anthropic({ apiKey: token, baseURL: gateway, maxRetries: 0 });
    const messages = [];
    return {
      say({ text, image }) {
        const part = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png } };
        messages.push({ role: 'user', content: [{ type: 'text', text }, ...(image ? [part] : [])] });
      },
      results(results) {
        messages.push({ role: 'user', content: results.map(([{ id }, content]) => (
          { type: 'tool_result', tool_use_id: id, content })) });
      },
      async turn(model, { forced, structured }) {
        const asked = {
          model, messages, system, max_tokens: 8000,
          tools: Object.entries(tools).map(([name, schema]) => (
            { name, description: `The ${name}`, input_schema: schema })),
          ...(forced ? { tool_choice: { type: 'tool', name: forced } } : { thinking: { type: 'adaptive' } }),
          ...(structured && { output_config: { format: { type: 'json_schema', schema } } }),
        };
        const made = streamed
          ? await client.messages.stream(asked).finalMessage()
          : await client.messages.create(asked);
        messages.push({ role: 'assistant', content: made.content.map(({ parsed_output: _, ...block }) => block) });
        return {
          text: join(made.content.filter((block) => block.type === 'text').map((block) => block.text)),
          calls: made.content.filter((block) => block.type === 'tool_use'),
        };
      },
    };
  },

  async converse({ gateway, pair, tools, schema, system, png, streamed }) {
    const aws = await import('@aws-sdk/client-bedrock-runtime');
    const { NodeHttpHandler } = await import('@smithy/node-http-handler');
    const client = new aws.BedrockRuntimeClient({
      region: 'us-east-1', endpoint: gateway, maxAttempts: 1, requestHandler: new NodeHttpHandler(),
      credentials: { accessKeyId: pair[0], secretAccessKey: pair[1] },
    });
    const messages = [];
    return {
      say({ text, image }) {
        const part = { image: { format: 'png', source: { bytes: Buffer.from(png, 'base64') } } };
        messages.push({ role: 'user', content: [{ text }, ...(image ? [part] : [])] });
      },
      results(results) {
        messages.push({ role: 'user', content: results.map(([{ id }, text]) => (
          { toolResult: { toolUseId: id, content: [{ text }] } })) });
      },
      async turn(modelId, { forced, structured }) {
        const specs = Object.entries(tools).map(([name, json]) => (
          { toolSpec: { name, description: `The ${name}`, inputSchema: { json } } }));
        const jsonSchema = { schema: JSON.stringify(schema), name: 'forecast' };
        const asked = {
          modelId, messages, system: [{ text: system }], inferenceConfig: { maxTokens: 8000 },
          toolConfig: { tools: specs, ...(forced && { toolChoice: { tool: { name: forced } } }) },
          ...(!forced && { additionalModelRequestFields: { thinking: { type: 'adaptive' } } }),
          ...(structured && { outputConfig: { textFormat: { type: 'json_schema', structure: { jsonSchema } } } }),
        };
        const content = streamed
          ? await folded((await client.send(new aws.ConverseStreamCommand(asked))).stream)
          : (await client.send(new aws.ConverseCommand(asked))).output.message.content;
        messages.push({ role: 'assistant', content });
        return {
          text: join(content.map((block) => block.text ?? '')),
          calls: content.filter((block) => block.toolUse).map(({ toolUse: { toolUseId, name, input } }) => (
            { id: toolUseId, name, input })),
        };
      },
    };
  },
};

async function folded(stream) {
  const blocks = [];
  for await (const { contentBlockStart: start, contentBlockDelta: found } of stream) {
    if (start) blocks[start.contentBlockIndex] = { toolUse: { ...start.start.toolUse, input: '' } };
    if (!found) continue;
    const block = (blocks[found.contentBlockIndex] ??= {});
    const { text, toolUse, reasoningContent: reasoning } = found.delta;
    if (toolUse) block.toolUse.input += toolUse.input;
    if (text !== undefined) block.text = (block.text ?? '') + text;
    if (reasoning?.redactedContent) block.reasoningContent = reasoning;
    else if (reasoning) {
      const shown = (block.reasoningContent ??= { reasoningText: { text: '' } }).reasoningText;
      for (const [name, value] of Object.entries(reasoning)) shown[name] = (shown[name] ?? '') + value;
    }
  }
  for (const { toolUse } of blocks) if (toolUse) toolUse.input = JSON.parse(toolUse.input || '{}');
  return blocks;
}

const languageModels = {
  'vercel-openai': async ({ gateway, token }) => {
    const { createOpenAI } = await import('@ai-sdk/openai');
    return (model) => createOpenAI({ baseURL: `${gateway}/v1`, apiKey: token }).responses(model);
  },
  'vercel-openai-chat': async ({ gateway, token }) => {
    const { createOpenAI } = await import('@ai-sdk/openai');
    return (model) => createOpenAI({ baseURL: `${gateway}/v1`, apiKey: token }).chat(model);
  },
  'vercel-gemini': async ({ gateway, token }) => {
    const { createGoogleGenerativeAI } = await import('@ai-sdk/google');
    return createGoogleGenerativeAI({ baseURL: `${gateway}/v1beta`, apiKey: token });
  },
  'vercel-anthropic': async ({ gateway, token }) => {
    const { createAnthropic } = await import('@ai-sdk/anthropic');
    return createAnthropic({ baseURL: `${gateway}/v1`, apiKey: token });
  },
};
const REASONING = {
  google: { thinkingConfig: { includeThoughts: true, thinkingLevel: 'high' } },
  openai: { store: false, reasoningEffort: 'medium', reasoningSummary: 'auto', include: ['reasoning.encrypted_content'],
    forceReasoning: true },
  anthropic: { thinking: { type: 'adaptive' }, structuredOutputMode: 'outputFormat' },
};

const optionsOf = (model, forced) => ({
  ...REASONING,
  // Claude thinks at no forced tool, and gpt-4o-mini does not reason.
  ...(forced && { anthropic: { structuredOutputMode: 'outputFormat' } }),
  ...(model.startsWith('to-chat') && { openai: { store: false } }),
});

for (const [name, make] of Object.entries(languageModels)) {
  clients[name] = async (job) => {
    const { generateText, streamText, tool, jsonSchema, Output } = await import('ai');
    const languageModel = await make(job);
    const messages = [];
    const tools = Object.fromEntries(Object.entries(job.tools).map(([tool_, schema]) => (
      [tool_, tool({ description: `The ${tool_}`, inputSchema: jsonSchema(schema) })])));
    return {
      say({ text, image }) {
        const part = { type: 'image', image: Buffer.from(job.png, 'base64'), mediaType: 'image/png' };
        messages.push({ role: 'user', content: [{ type: 'text', text }, ...(image ? [part] : [])] });
      },
      results(results) {
        messages.push({ role: 'tool', content: results.map(([{ id, name: toolName }, value]) => (
          { type: 'tool-result', toolCallId: id, toolName, output: { type: 'text', value } })) });
      },
      async turn(model, { forced, structured }) {
        const asked = {
          model: languageModel(model), system: job.system, messages, tools, maxRetries: 0, maxOutputTokens: 8000,
          ...(forced && { toolChoice: { type: 'tool', toolName: forced } }),
          providerOptions: optionsOf(model, forced),
          ...(structured && { experimental_output: Output.object({ schema: jsonSchema(job.schema) }) }),
        };
        let failed;
        const made = job.streamed
          ? streamText({ ...asked, onError: ({ error }) => { failed = error; } })
          : await generateText(asked);
        if (job.streamed) await made.consumeStream();
        if (failed) throw failed;
        messages.push(...(await made.response).messages);
        return {
          text: await made.text,
          calls: (await made.toolCalls).map(({ toolCallId: id, toolName, input }) => ({ id, name: toolName, input })),
        };
      },
    };
  };
}

async function held(job) {
  const session = await clients[job.client](job);
  const turns = [];
  let number = 0;
  for (const ask of job.asks) {
    session.say(ask);
    turns.push(await session.turn(job.models[turns.length], ask));
    while (turns.at(-1).calls.length) {
      session.results(turns.at(-1).calls.map((call) => [call, `result ${number++}`]));
      turns.push(await session.turn(job.models[turns.length], {}));
    }
  }
  return turns.map(({ text, calls }) => ({ text, calls: calls.map(({ name, input }) => [name, input]) }));
}

for await (const line of createInterface({ input: process.stdin })) {
  let result;
  try {
    result = { turns: await held(JSON.parse(line)) };
  } catch (error) {
    result = { error: `${error.name}: ${error.message} ${error.responseBody ?? ''} ${error.cause ?? ''}` };
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
process.exit(0);
