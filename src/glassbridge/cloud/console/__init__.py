"""The console and the browser phone: pages that the cloud serves from its package, and what only development has."""
