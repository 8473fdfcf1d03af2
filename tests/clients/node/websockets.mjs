// Talks over WebSockets with OpenAI's SDK: a session of Realtime, and Responses. Prints the events without their ids.
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { ResponsesWS } from 'openai/resources/responses/ws';

const ENDS = ['response.done', 'response.completed', 'response.incomplete', 'error'];
const withoutIds = (key, value) => (key.endsWith('id') ? undefined : value);

async function talk(connection, messages) {
  const heard = [];
  await new Promise((resolve, reject) => {
    const next = () => {
      if (messages.length === 0) return resolve();
      for (const message of messages.shift()) connection.send(message);
    };
    connection.on('event', (event) => {
      heard.push(event);
      if (ENDS.includes(event.type)) next();
    });
    connection.on('error', (error) => { if (!error.error) reject(error); });
    connection.socket.on('open', next);
    connection.socket.on('error', reject);
  });
  connection.close();
  return JSON.parse(JSON.stringify(heard, withoutIds));
}

const client = new OpenAI();
const content = [{ type: 'input_text', text: 'Hello.' }];
const realtime = await talk(new OpenAIRealtimeWS({ model: 'gpt-realtime' }, client), [
  [
    { type: 'session.update', session: { type: 'realtime', instructions: 'Be brief.' } },
    { type: 'conversation.item.create', item: { type: 'message', role: 'user', content } },
    { type: 'response.create' },
  ],
]);
const responses = await talk(new ResponsesWS(client), [
  [{ type: 'response.create', model: 'gpt-5', input: 'Hello.' }],
  [{ type: 'response.create', model: 'gpt-4o-mini', input: 'Much.', max_output_tokens: 16 }],
  [{ type: 'response.create', model: 'gpt-5', input: 'More.', previous_response_id: 'resp_unknown' }],
]);
console.log(JSON.stringify({ realtime, responses }));
process.exit(0);
