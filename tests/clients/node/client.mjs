// Makes calls with the SDKs for Node, and with Node's own fetch and https, as a program of a user would.
//
// Asked on stdin, answers on stdout, one JSON object a line:
//   {"client": "openai", "action": "chat" | "stream" | …, "options": {"retries", "text", "leave", "tools", "model"}}
//   {"value": what the SDK gave}  or  {"error": {"type", "status", "message"}}
// With `leave` a stream is aborted after its first event: {"value": [first event], "left": true}.
import { createInterface } from 'node:readline';

import { libraries } from './libraries.mjs';
import { sdks } from './sdks.mjs';
import { vercel } from './vercel.mjs';

const clients = { ...sdks, ...libraries, ...vercel };

async function streamed(stream, options, controller) {
  const events = [];
  try {
    for await (const event of stream) {
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
  const result = clients[client][action](options);
  if (result[Symbol.asyncIterator]) return streamed(result, options, controller);
  return { value: await result };
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
