// A conversation over Bedrock's two-way operation: each turn is sent once the model has answered the one before it.
// The argument is JSON: model, turns (what the user says), audio (whether also in sound), repeat (conversations).
// Prints the events of the model in each conversation, or its error, as JSON.
import { BedrockRuntimeClient, InvokeModelWithBidirectionalStreamCommand } from "@aws-sdk/client-bedrock-runtime";

const { model, turns, audio = false, repeat = 1 } = JSON.parse(process.argv[2]);
const client = new BedrockRuntimeClient({ maxAttempts: 1 });

function conversation(promptName) {
  const waiting = [];
  let wake = () => {};
  const send = (...events) => {
    for (const event of events) waiting.push({ chunk: { bytes: new TextEncoder().encode(JSON.stringify({ event })) } });
    wake();
  };
  const say = (text, number, role = "USER") => {
    const content = { promptName, contentName: `content-${number}` };
    send({ contentStart: { ...content, role, type: "TEXT", interactive: role === "USER" } });
    send({ textInput: { ...content, content: text } }, { contentEnd: content });
  };
  const speak = (number) => {
    const content = { promptName, contentName: `sound-${number}` };
    const silence = Buffer.alloc(640).toString("base64");
    send({ contentStart: { ...content, role: "USER", type: "AUDIO", interactive: true } });
    for (let piece = 0; piece < 10; piece++) send({ audioInput: { ...content, content: silence } });
    send({ contentEnd: content });
  };
  let ended = false;
  const end = () => {
    send({ promptEnd: { promptName } }, { sessionEnd: {} });
    ended = true;
    wake();
  };
  async function* body() {
    for (;;) {
      while (waiting.length) yield waiting.shift();
      if (ended) return;
      await new Promise((resolve) => (wake = resolve));
    }
  }
  send({ sessionStart: { inferenceConfiguration: { maxTokens: 1024 } } });
  send({ promptStart: { promptName, ...(audio ? { audioOutputConfiguration: { mediaType: "audio/lpcm" } } : {}) } });
  say("Answer briefly.", 0, "SYSTEM");
  return { send, say, speak, end, body };
}

async function converse(promptName) {
  const { say, speak, end, body } = conversation(promptName);
  const left = turns.map((text, index) => () => say(text, index + 1));
  if (audio) left.push(() => speak(left.length));
  const next = () => (left.length ? left.shift()() : end());
  next();
  const heard = [];
  try {
    const response = await client.send(new InvokeModelWithBidirectionalStreamCommand({ modelId: model, body: body() }));
    for await (const message of response.body) {
      const [[name, values]] = Object.entries(JSON.parse(new TextDecoder().decode(message.chunk.bytes)).event);
      heard.push([name, values]);
      if (name === "usageEvent") next();
    }
  } catch (error) {
    return { heard, error: { name: error.name, message: error.message, status: error.$metadata?.httpStatusCode } };
  }
  return { heard };
}

const made = [];
for (let number = 0; number < repeat; number++) made.push(await converse(`prompt-${number}`));
client.destroy();
console.log(JSON.stringify(made));
