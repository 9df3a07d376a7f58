"""One file a server kind: object stores, metadata stores, event sinks. The file name is the registration."""
