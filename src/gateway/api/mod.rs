//! The server API: an application publishes, asks and commands by HTTP on the same port.
