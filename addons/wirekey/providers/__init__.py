"""The providers, a package each: requests, responses, errors and models. They are listed in `registry`."""
