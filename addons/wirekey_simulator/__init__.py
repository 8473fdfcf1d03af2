"""A strict stand-in for the providers, for tests of programs that call them.

`server.Simulator` listens. `connection`, `http1` and `http2` read requests, `hosts` finds the provider that a request
is for, `dispatch` checks it and passes it to the provider's module (those of `registry`), and `delivery` sends the
response. `behaviour` and `script` are how a test asks for delays, errors and faults.
`sts` and `instance_metadata` stand in for the two services that issue AWS credentials.

Independent of Wirekey's own code except for certificates, the table of hosts and HTTP/2's GOAWAY: it must not share the
errors of what it tests.
"""
