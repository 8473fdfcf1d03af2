// Requests to Wirekey: JSON responses, and the live feed of calls.

const HIDDEN_FOR = 20000; // A hidden page closes its feed after this time: browsers allow six connections to a host.
const RETRY = 3000;

export class SignedOut extends Error {}

export async function ask(path) {
  const response = await fetch(path, { cache: "no-store", credentials: "same-origin" });
  if (response.status === 401) throw new SignedOut();
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

// Returns null on success, or the error message.
export async function post(path, content) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(content), credentials: "same-origin" });
  if (response.ok) return null;
  const problem = await response.json().catch(() => ({}));
  return problem.error_description ?? `Wirekey responded with status ${response.status}.`;
}

// listener: { start(), batch(content), state("live" | "lost"), signedOut() }
export class Follower {
  constructor(listener) {
    this.listener = listener;
    this.source = null;
    this.leaving = null;
    this.retrying = null;
    this.wanted = false;
    document.addEventListener("visibilitychange", () => this.onVisibility());
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
    source.addEventListener("start", () => this.listener.start());
    source.addEventListener("message", (event) => this.listener.batch(JSON.parse(event.data)));
    source.addEventListener("open", () => this.listener.state("live"));
    source.addEventListener("error", () => {
      this.listener.state("lost");
      if (source.readyState === EventSource.CLOSED) this.retry();
    });
  }

  close() {
    clearTimeout(this.retrying);
    this.source?.close();
    this.source = null;
  }

  // The browser gave up: the session has ended, or too many pages follow the feed.
  retry() {
    this.close();
    this.retrying = setTimeout(async () => {
      try {
        await ask("/console/state");
        this.open();
      } catch (error) {
        if (error instanceof SignedOut) this.listener.signedOut();
        else this.retry();
      }
    }, RETRY);
  }

  onVisibility() {
    clearTimeout(this.leaving);
    if (document.hidden) this.leaving = setTimeout(() => this.close(), HIDDEN_FOR);
    else this.open();
  }
}
