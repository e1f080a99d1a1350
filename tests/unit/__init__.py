"""One module each, with real wires where wires matter: sockets on loopback, SQLite in a file."""
