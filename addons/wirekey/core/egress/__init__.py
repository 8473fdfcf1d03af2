"""Which hosts may be reached: the providers' names, addresses, redirects and calls from web pages."""
