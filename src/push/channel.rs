//! A channel: its subscribers and its stream.
