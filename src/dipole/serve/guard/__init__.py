"""What stands before every address: keys, hosts, headers, limits, rates. Each is one ASGI application around the next."""
