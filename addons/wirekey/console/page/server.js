// What is asked of Wirekey: a few answers in JSON, and the feed of what becomes of calls.

const HIDDEN_FOR = 20000; // A page that nobody sees stops following after this: browsers allow six connections in all.
const RETRY = 3000;

export class SignedOut extends Error {}

export async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", credentials: "same-origin" });
  if (answer.status === 401) throw new SignedOut();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// Gives the sentence that says why not; null where it is done.
export async function post(path, content) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(content), credentials: "same-origin" });
  if (answer.ok) return null;
  const said = await answer.json().catch(() => ({}));
  return said.error_description ?? `Wirekey answered ${answer.status}.`;
}

// hears: { start(), batch(content), state(live | lost), signedOut() }
export class Follower {
  constructor(hears) {
    this.hears = hears;
    this.source = null;
    this.leaving = null;
    this.retrying = null;
    this.wanted = false;
    document.addEventListener("visibilitychange", () => this.look());
  }

  start() {
    this.wanted = true;
    this.open();
  }

  stop() {
    this.wanted = false;
    this.close();
  }

  open() {
    if (this.source || !this.wanted) return;
    const source = (this.source = new EventSource("/console/events"));
    source.addEventListener("start", () => this.hears.start());
    source.addEventListener("message", (event) => this.hears.batch(JSON.parse(event.data)));
    source.addEventListener("open", () => this.hears.state("live"));
    source.addEventListener("error", () => {
      this.hears.state("lost");
      if (source.readyState === EventSource.CLOSED) this.retry();
    });
  }

  close() {
    clearTimeout(this.retrying);
    this.source?.close();
    this.source = null;
  }

  // The browser gave up: because nobody is signed in any more, or because there were too many pages.
  retry() {
    this.close();
    this.retrying = setTimeout(async () => {
      try {
        await ask("/console/state");
        this.open();
      } catch (error) {
        if (error instanceof SignedOut) this.hears.signedOut();
        else this.retry();
      }
    }, RETRY);
  }

  look() {
    clearTimeout(this.leaving);
    if (document.hidden) this.leaving = setTimeout(() => this.close(), HIDDEN_FOR);
    else this.open();
  }
}
