"""The stations of a call, in flow order; each is a thin mitmproxy addon with one hook or two."""
