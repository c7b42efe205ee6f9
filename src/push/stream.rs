//! A stream: the publications of a channel that are kept, and the position of the latest.
