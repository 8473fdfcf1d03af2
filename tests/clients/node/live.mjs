// A session with Gemini Live: a turn in text, one that calls a tool, and a text that the model responds to unasked.
// The argument is JSON: model. Prints the messages of the model, without ids, as JSON, or the error.
import { GoogleGenAI, Modality } from "@google/genai";

const { model } = JSON.parse(process.argv[2]);
const ai = new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY });
const heard = [];
let closed = null;
let wake = () => {};
const callbacks = {
  onmessage: (message) => { heard.push(message); wake(); },
  onclose: ({ code, reason }) => { closed = { code, reason }; wake(); },
  onerror: ({ message }) => { closed = { message }; wake(); },
};
const tools = [{ functionDeclarations: [{ name: "look_up", description: "Look up a name" }] }];
const config = { responseModalities: [Modality.TEXT], systemInstruction: "Be brief.", tools };

async function turn(session) {
  for (let read = heard.length; ; read += 1) {
    while (heard.length === read && !closed) await new Promise((resolve) => (wake = resolve));
    if (closed) throw new Error(JSON.stringify(closed));
    for (const { id, name } of heard[read].toolCall?.functionCalls ?? []) {
      session.sendToolResponse({ functionResponses: [{ id, name, response: { found: true } }] });
    }
    if (heard[read].serverContent?.turnComplete) return;
  }
}

try {
  const session = await ai.live.connect({ model, config, callbacks });
  for (const text of ["Hello.", "Please call a tool."]) {
    const ended = turn(session);
    session.sendClientContent({ turns: [{ role: "user", parts: [{ text }] }], turnComplete: true });
    await ended;
  }
  const ended = turn(session);
  session.sendRealtimeInput({ text: "Are you there?" });
  await ended;
  callbacks.onclose = null;
  session.close();
  console.log(JSON.stringify(heard, (name, value) => (name === "id" ? undefined : value)));
} catch (error) {
  console.log(JSON.stringify({ error: String(error.message ?? error) }));
}
