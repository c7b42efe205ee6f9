//! Every rule that is held against a peer, in one table: errors, close frames, logs, tools, documentation and tests are
//! all made from it.

use super::CloseCode;

/// A rule of the protocol, in words and numbers.
///
/// Each is a constant, and [`ALL`](Self::ALL) of them are a table.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// A short name that stays the same, for tools and tests.
    pub id: &'static str,
    /// Where it is written, such as `RFC 6455 §5.2`.
    pub section: &'static str,
    /// The rule in a sentence.
    pub sentence: &'static str,
    /// What whoever broke it has to be answered with.
    pub owed: Owed,
    /// The cases of the Autobahn suite that break it on purpose, such as `2.5, 5.9–5.17, 7.9.*`; nothing if none does.
    pub autobahn: &'static str,
    /// A test of ours that breaks it, such as `tests/FILE.rs::NAME`; nothing if it cannot be broken on purpose.
    pub test: &'static str,
}

/// What the breach of a [`Rule`] is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// A Close with this code; then the connection ends [RFC 6455 §7.1.7].
    Close(CloseCode),
    /// An HTTP answer with this status.
    Status(u16),
    /// The client ends the connection without a word; there is no WebSocket yet to say it on.
    Failure,
    /// Nothing: it is passed over.
    Nothing,
}

impl Rule {
    /// The rule of that name.
    pub fn find(id: &str) -> Option<&'static Self> {
        Self::ALL.iter().copied().find(|rule| rule.id == id)
    }

    /// Whether this case of the Autobahn suite, such as `7.9.2`, breaks the rule on purpose.
    pub fn is_broken_in(&self, case: &str) -> bool {
        let case = numbers(case);
        self.autobahn.split(", ").filter(|item| !item.is_empty()).any(|item| {
            let (first, last) = item.split_once('–').unwrap_or((item, item));
            let is_whole = item.ends_with(".*") || numbers(first).len() == case.len();
            // A star is left out, and the rest compared as far as it goes.
            let (first, last) = (numbers(first), numbers(last));
            let from = case.get(..first.len()).is_some_and(|start| start >= &first[..]);
            let to = case.get(..last.len()).is_some_and(|start| start <= &last[..]);
            is_whole && from && to
        })
    }

    /// The code of the Close that is owed, if one is.
    pub const fn close_code(&self) -> Option<CloseCode> {
        match self.owed {
            Owed::Close(code) => Some(code),
            _ => None,
        }
    }

    /// The status of the HTTP answer that is owed, if one is.
    pub const fn status(&self) -> Option<u16> {
        match self.owed {
            Owed::Status(status) => Some(status),
            _ => None,
        }
    }
}

/// The numbers of a case, as far as there are any.
fn numbers(case: &str) -> Vec<u32> {
    case.split('.').map_while(|number| number.parse().ok()).collect()
}

macro_rules! rules {
    ($(
        $name:ident = $id:literal, $section:literal, $owed:expr, $sentence:literal,
        autobahn $autobahn:literal, test $test:literal;
    )*) => {
        impl Rule {
            $(
                #[doc = concat!("`", $id, "`: ", $sentence, " [", $section, "].")]
                pub const $name: &'static Self = &Self {
                    id: $id,
                    section: $section,
                    sentence: $sentence,
                    owed: $owed,
                    autobahn: $autobahn,
                    test: $test,
                };
            )*

            /// Every rule, in the order in which a connection meets them: frames first, as they are most of it.
            pub const ALL: &'static [&'static Self] = &[$(Self::$name),*];
        }
    };
}

rules! {
    // Frames and messages, by whoever receives them.

    RESERVED_BIT = "reserved-bit", "RFC 6455 §5.2", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a reserved bit is zero unless an agreed extension gives it a meaning",
        autobahn "3.*",
        test "tests/frames_server.rs::broken_frames_fail_with_their_rule";
    RESERVED_OPCODE = "reserved-opcode", "RFC 6455 §5.2", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "opcodes 3–7 and 11–15 are reserved",
        autobahn "4.*",
        test "tests/frames_server.rs::broken_frames_fail_with_their_rule";
    FRAGMENTED_CONTROL_FRAME = "fragmented-control-frame", "RFC 6455 §5.5", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a control frame is never fragmented",
        autobahn "5.1, 5.2",
        test "tests/frames_server.rs::broken_frames_fail_with_their_rule";
    CONTROL_FRAME_TOO_LONG = "control-frame-too-long", "RFC 6455 §5.5", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a control frame carries at most 125 bytes",
        autobahn "2.5, 7.3.6",
        test "tests/frames_server.rs::broken_frames_fail_with_their_rule";
    COMPRESSED_OUT_OF_PLACE = "compressed-out-of-place", "RFC 7692 §6.1", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "only the first frame of a data message says that it is compressed",
        autobahn "",
        test "tests/compressed_frames.rs::the_compressed_bit_elsewhere_and_what_does_not_inflate_are_refused";
    LENGTH_NOT_MINIMAL = "length-not-minimal", "RFC 6455 §5.2", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a length stands in the shortest form that holds it",
        autobahn "",
        test "tests/frames_server.rs::lengths_are_judged_on_the_header_alone";
    LENGTH_TOP_BIT = "length-top-bit", "RFC 6455 §5.2", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "the most significant bit of a 64-bit length is zero",
        autobahn "",
        test "tests/frames_server.rs::lengths_are_judged_on_the_header_alone";
    MASK_MISSING = "mask-missing", "RFC 6455 §5.1", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a client masks every frame it sends",
        autobahn "",
        test "tests/frames_server.rs::broken_frames_fail_with_their_rule";
    MASK_FORBIDDEN = "mask-forbidden", "RFC 6455 §5.1", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a server masks no frame it sends",
        autobahn "",
        test "tests/frames_client.rs::a_masked_frame_from_a_server_fails_the_connection";
    CONTINUATION_UNEXPECTED = "continuation-unexpected", "RFC 6455 §5.4", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a continuation frame follows the unfinished frame of a message",
        autobahn "5.9–5.17",
        test "tests/frames_server.rs::broken_frames_fail_with_their_rule";
    CONTINUATION_EXPECTED = "continuation-expected", "RFC 6455 §5.4", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "the fragments of one message are not interleaved with another's",
        autobahn "5.18",
        test "tests/frames_server.rs::broken_frames_fail_with_their_rule";
    INVALID_UTF8 = "invalid-utf8", "RFC 6455 §8.1", Owed::Close(CloseCode::INVALID_PAYLOAD),
        "a text message is valid UTF-8",
        autobahn "6.3.*, 6.4.*, 6.6.1, 6.6.3, 6.6.4, 6.6.6, 6.6.8, 6.6.10, 6.8.*, 6.10.*, 6.11.5, 6.12.*–6.21.*",
        test "tests/frames_server.rs::text_that_is_not_utf8_fails_and_is_not_delivered";
    CLOSE_TOO_SHORT = "close-too-short", "RFC 6455 §5.5.1", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a close frame's payload is empty or begins with a code of two bytes",
        autobahn "7.3.2",
        test "tests/frames_server.rs::closes_are_answered_by_the_same_code_or_refused";
    CLOSE_CODE_INVALID = "close-code-invalid", "RFC 6455 §7.4", Owed::Close(CloseCode::PROTOCOL_ERROR),
        "a close code is one of 1000–1003, 1007–1014 and 3000–4999",
        autobahn "7.9.*, 7.13.*",
        test "tests/frames_server.rs::closes_are_answered_by_the_same_code_or_refused";
    CLOSE_REASON_NOT_UTF8 = "close-reason-not-utf8", "RFC 6455 §5.5.1", Owed::Close(CloseCode::INVALID_PAYLOAD),
        "the reason in a close frame is valid UTF-8",
        autobahn "7.5.1",
        test "tests/frames_server.rs::closes_are_answered_by_the_same_code_or_refused";
    INFLATE_FAILED = "inflate-failed", "RFC 7692 §7.2.2", Owed::Close(CloseCode::INVALID_PAYLOAD),
        "a compressed message is a valid DEFLATE stream within the agreed window",
        autobahn "",
        test "tests/compressed_frames.rs::the_compressed_bit_elsewhere_and_what_does_not_inflate_are_refused";
    MESSAGE_TOO_BIG = "message-too-big", "RFC 6455 §10.4", Owed::Close(CloseCode::MESSAGE_TOO_BIG),
        "a message stays within the length that the receiver allows",
        autobahn "",
        test "tests/frames_server.rs::a_message_may_be_as_long_as_the_limit_and_not_longer_however_it_is_cut";
    TOO_MANY_FRAGMENTS = "too-many-fragments", "RFC 6455 §10.4", Owed::Close(CloseCode::POLICY_VIOLATION),
        "a message stays within the number of fragments that the receiver allows",
        autobahn "",
        test "tests/frames_server.rs::a_message_may_have_as_many_fragments_as_the_limit_empty_ones_included";
    CONTROL_FLOOD = "control-flood", "RFC 6455 §10.4", Owed::Close(CloseCode::POLICY_VIOLATION),
        "control frames come no faster than the receiver allows",
        autobahn "",
        test "tests/conversations.rs::control_frames_may_come_at_the_rate_and_not_faster";
    MESSAGE_TIMEOUT = "message-timeout", "RFC 6455 §10.4", Owed::Close(CloseCode::POLICY_VIOLATION),
        "a message that has begun ends within the time that the receiver allows",
        autobahn "",
        test "tests/conversations.rs::a_message_ends_in_time_however_steadily_it_drips";
    KEEPALIVE_TIMEOUT = "keepalive-timeout", "RFC 6455 §5.5.2", Owed::Close(CloseCode::INTERNAL_ERROR),
        "a ping is answered within the time that its sender allows",
        autobahn "",
        test "tests/conversations.rs::a_peer_that_vanished_is_given_up_even_while_we_still_have_data_for_it";
    // The order of things, seen from outside: what an endpoint lets pass, and whoever watches both sees.
    DATA_AFTER_CLOSE = "data-after-close", "RFC 6455 §5.5.1", Owed::Nothing,
        "after its Close an endpoint sends no more data frames",
        autobahn "7.1.4, 7.1.5",
        test "tests/explain.rs::a_broken_rule_is_seen_once_and_what_follows_is_not_judged";
    DATA_BEFORE_ANSWER = "data-before-answer", "RFC 6455 §4.1", Owed::Nothing,
        "a client waits for the server's answer before it sends anything more",
        autobahn "",
        test "tests/explain.rs::what_is_broken_in_a_handshake_is_told_too";

    // Heads, of requests and answers alike.

    START_LINE_TOO_LONG = "start-line-too-long", "RFC 9110 §15.5.15", Owed::Status(414),
        "a start line stays within what the receiver reads",
        autobahn "",
        test "tests/handshake_server/limits.rs::each_limit_is_kept_at_it_over_it_and_around_it";
    HEAD_TOO_LONG = "head-too-long", "RFC 6585 §5", Owed::Status(431),
        "a head stays within what the receiver reads",
        autobahn "",
        test "tests/handshake_server/limits.rs::each_limit_is_kept_at_it_over_it_and_around_it";
    TOO_MANY_FIELDS = "too-many-fields", "RFC 6585 §5", Owed::Status(431),
        "a head has no more field lines than the receiver reads",
        autobahn "",
        test "tests/handshake_server/limits.rs::each_limit_is_kept_at_it_over_it_and_around_it";
    TLS_ON_PLAIN_PORT = "tls-on-plain-port", "RFC 9112 §2.1", Owed::Status(400),
        "a message begins with its start line, not with TLS",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    NOT_HTTP = "not-http", "RFC 9112 §2.1", Owed::Status(400),
        "a message begins with its start line",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    LEADING_BLANK_LINES = "leading-blank-lines", "RFC 9112 §2.2", Owed::Status(400),
        "at most one blank line precedes a start line",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    BARE_LINE_FEED = "bare-line-feed", "RFC 9112 §2.2", Owed::Status(400),
        "lines end with CR LF",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    BARE_CARRIAGE_RETURN = "bare-carriage-return", "RFC 9112 §2.2", Owed::Status(400),
        "CR stands nowhere but in the CR LF that ends a line",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    CONTROL_BYTE = "control-byte", "RFC 9110 §5.5", Owed::Status(400),
        "no control byte but HTAB stands in a start line or field",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    START_LINE = "start-line", "RFC 9112 §3", Owed::Status(400),
        "a start line has three parts with one space between: method, target and version, or version, status and reason",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    FOLD = "fold", "RFC 9112 §5.2", Owed::Status(400),
        "a field line is not continued on the next line",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    NO_COLON = "no-colon", "RFC 9112 §5", Owed::Status(400),
        "a field line is a name, a colon and a value",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    SPACE_BEFORE_COLON = "space-before-colon", "RFC 9112 §5.1", Owed::Status(400),
        "no white space stands between a field's name and its colon",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    FIELD_NAME = "field-name", "RFC 9110 §5.1", Owed::Status(400),
        "a field's name is a token",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    FIELD_VALUE = "field-value", "RFC 9110 §5.5", Owed::Status(400),
        "a field's value has no control byte but HTAB",
        autobahn "",
        test "src/handshake/fields.rs::a_value_that_the_scan_would_not_let_pass_is_named_too";
    INCOMPLETE_HEAD = "incomplete-head", "RFC 9112 §2.1", Owed::Status(400),
        "a head ends with its first blank line",
        autobahn "",
        test "tests/handshake_server/reading.rs::plain_requests_are_read_as_strictly_but_not_judged";
    // Requests, by a server.

    HTTP_VERSION = "http-version", "RFC 9110 §15.6.6", Owed::Status(505),
        "the version is HTTP/1.1 or HTTP/1.0",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    TARGET = "target", "RFC 9112 §3.2", Owed::Status(400),
        "a target is a path that begins with a slash, or an http or https address, without a fragment",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    TARGET_MISMATCH = "target-mismatch", "RFC 9112 §3.2.2", Owed::Status(400),
        "an absolute target and Host name the same server",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    HOST_MISSING = "host-missing", "RFC 9112 §3.2", Owed::Status(400),
        "an HTTP/1.1 request has a Host",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    HOST_DUPLICATE = "host-duplicate", "RFC 9112 §3.2", Owed::Status(400),
        "a request has no more than one Host",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    HOST_INVALID = "host-invalid", "RFC 9110 §7.2", Owed::Status(400),
        "Host is a host, and a port up to 65535 if there is one",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    CONTENT_LENGTH = "content-length", "RFC 9112 §6.3", Owed::Status(400),
        "Content-Length is one decimal number, given once, without Transfer-Encoding",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    TRANSFER_ENCODING = "transfer-encoding", "RFC 9112 §6.1", Owed::Status(400),
        "Transfer-Encoding is chunked alone, in HTTP/1.1 only",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    CHUNK = "chunk", "RFC 9112 §7.1", Owed::Status(400),
        "a chunk is its size in hexadecimal digits, CR LF, that many bytes, and CR LF",
        autobahn "",
        test "tests/request_body.rs::what_two_readers_could_read_differently_is_refused";
    CHUNK_EXTENSIONS_TOO_LONG = "chunk-extensions-too-long", "RFC 9112 §7.1.1", Owed::Status(400),
        "chunk extensions stay within what the receiver reads",
        autobahn "",
        test "tests/request_body.rs::extensions_are_limited_in_all_of_a_body";
    TRAILERS_TOO_LONG = "trailers-too-long", "RFC 6585 §5", Owed::Status(431),
        "fields behind a body stay within what the receiver reads",
        autobahn "",
        test "tests/request_body.rs::fields_behind_the_last_chunk_are_limited";
    BODY_TOO_LONG = "body-too-long", "RFC 9110 §15.5.14", Owed::Status(413),
        "a body stays within what the receiver reads",
        autobahn "",
        test "tests/request_body.rs::a_body_of_known_length_ends_with_its_last_byte";
    EXPECTATION = "expectation", "RFC 9110 §10.1.1", Owed::Status(417),
        "nothing is expected but 100-continue",
        autobahn "",
        test "tests/faults/exchanges.rs::who_waits_to_be_told_to_go_on_is_told_if_the_body_is_wanted";
    METHOD = "method", "RFC 6455 §4.2.1", Owed::Status(405),
        "an opening handshake is a GET",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    UPGRADE_OVER_HTTP_1_0 = "upgrade-over-http-1.0", "RFC 6455 §4.2.1", Owed::Status(400),
        "an opening handshake is HTTP/1.1 or higher",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    UPGRADE = "upgrade", "RFC 6455 §4.2.1", Owed::Status(426),
        "an opening handshake has Upgrade: websocket",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    CONNECTION = "connection", "RFC 6455 §4.2.1", Owed::Status(400),
        "an opening handshake has Connection: Upgrade",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    VERSION_MISSING = "version-missing", "RFC 6455 §4.2.1", Owed::Status(426),
        "an opening handshake has a Sec-WebSocket-Version",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    VERSION_INVALID = "version-invalid", "RFC 6455 §4.3", Owed::Status(400),
        "Sec-WebSocket-Version is one number from 0 to 255 without leading zeros, given once",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    VERSION_UNSUPPORTED = "version-unsupported", "RFC 6455 §4.4", Owed::Status(426),
        "the versions spoken here are 13 and 8",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    KEY_MISSING = "key-missing", "RFC 6455 §4.2.1", Owed::Status(400),
        "an opening handshake has a Sec-WebSocket-Key",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    KEY_DUPLICATE = "key-duplicate", "RFC 6455 §11.3.1", Owed::Status(400),
        "Sec-WebSocket-Key is given once",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    KEY_INVALID = "key-invalid", "RFC 6455 §4.2.1", Owed::Status(400),
        "Sec-WebSocket-Key is 16 bytes in base64: 22 characters and ==",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    BODY_PRESENT = "body-present", "RFC 6455 §4.1", Owed::Status(400),
        "an opening handshake has no body",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    PROTOCOL_INVALID = "protocol-invalid", "RFC 6455 §4.1", Owed::Status(400),
        "Sec-WebSocket-Protocol lists one or more tokens",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    PROTOCOL_DUPLICATE = "protocol-duplicate", "RFC 6455 §4.1", Owed::Status(400),
        "the protocols in Sec-WebSocket-Protocol are all different",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    EXTENSIONS_INVALID = "extensions-invalid", "RFC 6455 §9.1", Owed::Status(400),
        "Sec-WebSocket-Extensions lists tokens, each with parameters that are tokens or have tokens as values",
        autobahn "",
        test "tests/handshake_server/main.rs::every_bad_handshake_gets_its_status_and_names_its_rule";
    ORIGIN_MISSING = "origin-missing", "RFC 6455 §10.2", Owed::Status(403),
        "only pages connect here, and they say from where",
        autobahn "",
        test "tests/handshake_server/origins.rs::a_missing_or_doubled_origin_is_refused_by_every_policy_but_any";
    ORIGIN_DUPLICATE = "origin-duplicate", "RFC 6454 §7.3", Owed::Status(403),
        "a request has no more than one origin",
        autobahn "",
        test "tests/handshake_server/origins.rs::a_missing_or_doubled_origin_is_refused_by_every_policy_but_any";
    ORIGIN_FORBIDDEN = "origin-forbidden", "RFC 6455 §10.2", Owed::Status(403),
        "only pages from the allowed origins connect here",
        autobahn "",
        test "tests/handshake_server/origins.rs::an_origin_is_compared_as_a_whole";
    NO_COMMON_PROTOCOL = "no-common-protocol", "RFC 6455 §4.2.2", Owed::Status(400),
        "the client offers a protocol that is spoken here",
        autobahn "",
        test "tests/handshake_socket.rs::what_a_server_s_policy_forbids_gets_its_status";
    NOT_FOUND = "not-found", "RFC 9110 §15.5.5", Owed::Status(404),
        "there is something at the path",
        autobahn "",
        test "tests/gateway/connections.rs::nothing_is_at_other_paths";
    UNAUTHORIZED = "unauthorized", "RFC 9110 §15.5.2", Owed::Status(401),
        "the request has valid credentials",
        autobahn "",
        test "tests/handshake_server/answers.rs::what_the_layers_above_decide_has_its_status_too";
    FORBIDDEN = "forbidden", "RFC 9110 §15.5.4", Owed::Status(403),
        "the client is one of those that may connect",
        autobahn "",
        test "tests/handshake_server/answers.rs::what_the_layers_above_decide_has_its_status_too";
    REQUEST_TIMEOUT = "request-timeout", "RFC 9110 §15.5.9", Owed::Status(408),
        "a head is complete within the time that the server allows",
        autobahn "",
        test "tests/faults/deadlines.rs::a_slow_request_meets_its_absolute_deadline_however_it_trickles";
    BODY_TIMEOUT = "body-timeout", "RFC 9110 §15.5.9", Owed::Status(408),
        "a body is complete within the time that the server allows",
        autobahn "",
        test "tests/faults/exchanges.rs::a_slow_body_meets_its_absolute_deadline_however_it_trickles";
    ANSWER_TIMEOUT = "answer-timeout", "RFC 9110 §15.6.4", Owed::Status(503),
        "an answer is found within the time that the server allows",
        autobahn "",
        test "tests/faults/exchanges.rs::an_answer_that_never_comes_is_503";
    TOO_MANY_REQUESTS = "too-many-requests", "RFC 6585 §4", Owed::Status(429),
        "a client connects no more often than the server allows",
        autobahn "",
        test "tests/handshake_server/answers.rs::what_the_layers_above_decide_has_its_status_too";
    UNAVAILABLE = "unavailable", "RFC 9110 §15.6.4", Owed::Status(503),
        "the server has room and is not about to stop",
        autobahn "",
        test "tests/handshake_socket.rs::a_full_or_draining_server_says_when_to_come_back";
    APPLICATION = "application", "RFC 6455 §4.2.2", Owed::Status(400),
        "the application accepts the connection",
        autobahn "",
        test "tests/handshake_socket.rs::what_a_server_s_policy_forbids_gets_its_status";
    // Answers, by a client.

    FIELD_UNSENDABLE = "field-unsendable", "RFC 9110 §5.5", Owed::Nothing,
        "a field is a token and a value without CR, LF, NUL and other control bytes",
        autobahn "",
        test "tests/handshake_client.rs::nothing_that_the_caller_gives_ends_a_line";
    FIELD_RESERVED = "field-reserved", "RFC 6455 §4", Owed::Nothing,
        "the handshake writes this field itself",
        autobahn "",
        test "tests/handshake_client.rs::nothing_that_the_caller_gives_ends_a_line";
    PROTOCOL_UNSENDABLE = "protocol-unsendable", "RFC 6455 §4.1", Owed::Nothing,
        "a protocol's name is a token",
        autobahn "",
        test "tests/handshake_client.rs::nothing_that_the_caller_gives_ends_a_line";
    PROTOCOL_OFFERED_TWICE = "protocol-offered-twice", "RFC 6455 §4.1", Owed::Nothing,
        "the protocols that a client offers are all different",
        autobahn "",
        test "tests/handshake_client.rs::nothing_that_the_caller_gives_ends_a_line";
    RANDOM = "random", "RFC 6455 §4.1", Owed::Nothing,
        "the key is chosen at random",
        autobahn "",
        test "";
    ANSWER_HTTP_VERSION = "answer-http-version", "RFC 6455 §4.2.2", Owed::Failure,
        "the answer is HTTP/1.1",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    REFUSED = "refused", "RFC 6455 §4.1", Owed::Failure,
        "a server that agrees answers 101",
        autobahn "",
        test "tests/handshake_client.rs::a_refusal_carries_its_status_fields_and_the_beginning_of_its_body";
    ANSWER_UPGRADE = "answer-upgrade", "RFC 6455 §4.1", Owed::Failure,
        "a 101 has Upgrade: websocket",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    ANSWER_CONNECTION = "answer-connection", "RFC 6455 §4.1", Owed::Failure,
        "a 101 has Connection: Upgrade",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    ACCEPT_MISSING = "accept-missing", "RFC 6455 §4.1", Owed::Failure,
        "a 101 has a Sec-WebSocket-Accept",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    ACCEPT_DUPLICATE = "accept-duplicate", "RFC 6455 §11.3.3", Owed::Failure,
        "Sec-WebSocket-Accept is given once",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    ACCEPT_WRONG = "accept-wrong", "RFC 6455 §4.1", Owed::Failure,
        "Sec-WebSocket-Accept proves that the server has read the key",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    PROTOCOL_NOT_OFFERED = "protocol-not-offered", "RFC 6455 §4.1", Owed::Failure,
        "a server chooses one of the protocols offered",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    PROTOCOL_AMBIGUOUS = "protocol-ambiguous", "RFC 6455 §11.3.4", Owed::Failure,
        "an answer has no more than one Sec-WebSocket-Protocol",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    EXTENSION_NOT_OFFERED = "extension-not-offered", "RFC 6455 §4.1", Owed::Failure,
        "a server agrees only to extensions that were offered, once each",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    ANSWER_EXTENSIONS_INVALID = "answer-extensions-invalid", "RFC 6455 §9.1", Owed::Failure,
        "an answer has no more than one Sec-WebSocket-Extensions, a list of tokens with parameters",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    DEFLATE_PARAMETERS = "deflate-parameters", "RFC 7692 §7.1", Owed::Failure,
        "the parameters agreed to are among those offered",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    ANSWER_TRUNCATED = "answer-truncated", "RFC 6455 §4.1", Owed::Failure,
        "the answer is complete before the connection ends",
        autobahn "",
        test "tests/handshake_client.rs::every_bad_answer_fails_and_names_its_rule";
    // Proxies on the way.

    PROXY_HOST = "proxy-host", "RFC 1928 §4", Owed::Failure,
        "a server's name has 1 to 255 letters, digits, dots and hyphens",
        autobahn "",
        test "tests/handshake_proxy.rs::a_host_that_could_say_more_than_a_host_is_not_asked_for";
    PROXY_CREDENTIALS_TOO_LONG = "proxy-credentials-too-long", "RFC 1929 §2", Owed::Failure,
        "a name and a password have at most 255 bytes",
        autobahn "",
        test "tests/handshake_proxy.rs::socks_gives_a_name_and_password_if_the_proxy_asks";
    PROXY_REFUSED = "proxy-refused", "RFC 9110 §9.3.6", Owed::Failure,
        "a proxy that opens a tunnel answers 2xx",
        autobahn "",
        test "tests/handshake_proxy.rs::an_http_proxy_s_refusals_say_what_to_do";
    PROXY_CREDENTIALS_REQUIRED = "proxy-credentials-required", "RFC 9110 §15.5.8", Owed::Failure,
        "the proxy's address has the name and password that it asks for, as in http://user:password@host:port",
        autobahn "",
        test "tests/handshake_proxy.rs::an_http_proxy_s_refusals_say_what_to_do";
    PROXY_NOT_SOCKS = "proxy-not-socks", "RFC 1928 §3", Owed::Failure,
        "a SOCKS5 proxy's answers begin with their version",
        autobahn "",
        test "tests/handshake_proxy.rs::a_socks_proxy_s_refusals_say_what_to_do";
    PROXY_METHOD = "proxy-method", "RFC 1928 §3", Owed::Failure,
        "a SOCKS5 proxy takes no authentication, or a name and a password if its address has them",
        autobahn "",
        test "tests/handshake_proxy.rs::a_socks_proxy_s_refusals_say_what_to_do";
    PROXY_CREDENTIALS_REFUSED = "proxy-credentials-refused", "RFC 1929 §2", Owed::Failure,
        "the name and password are what the proxy expects",
        autobahn "",
        test "tests/handshake_proxy.rs::a_socks_proxy_s_refusals_say_what_to_do";
    PROXY_SOCKS_REFUSED = "proxy-socks-refused", "RFC 1928 §6", Owed::Failure,
        "a SOCKS5 proxy that opens a connection answers 0",
        autobahn "",
        test "tests/handshake_proxy.rs::a_socks_proxy_s_refusals_say_what_to_do";
    PROXY_ADDRESS = "proxy-address", "RFC 1928 §6", Owed::Failure,
        "an address is of type 1, 3 or 4",
        autobahn "",
        test "tests/handshake_proxy.rs::a_socks_proxy_s_refusals_say_what_to_do";
    PROXY_TRUNCATED = "proxy-truncated", "RFC 1928 §6", Owed::Failure,
        "a proxy finishes its handshake before the connection ends",
        autobahn "",
        test "tests/handshake_proxy.rs::a_socks_proxy_s_refusals_say_what_to_do";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_is_found_by_it() {
        let ids: HashSet<_> = Rule::ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert_eq!(Rule::find(rule.id), Some(*rule));
            assert!(rule.section.starts_with("RFC ") && rule.section.contains(" §"), "{}", rule.id);
        }
        assert_eq!(Rule::find("no-such-rule"), None);
    }

    #[test]
    fn the_cases_that_break_a_rule_are_found_by_their_numbers() {
        let broken_in = |case: &str| -> Vec<&str> {
            Rule::ALL.iter().filter(|rule| rule.is_broken_in(case)).map(|rule| rule.id).collect()
        };
        let rows: &[(&str, &[&str])] = &[
            ("1.1.1", &[]),
            ("2.5", &["control-frame-too-long"]),
            ("3.7", &["reserved-bit"]),
            ("4.2.5", &["reserved-opcode"]),
            ("5.2", &["fragmented-control-frame"]),
            ("5.8", &[]),
            ("5.9", &["continuation-unexpected"]),
            ("5.17", &["continuation-unexpected"]),
            ("5.18", &["continuation-expected"]),
            ("5.20", &[]),
            ("6.6.1", &["invalid-utf8"]),
            ("6.6.11", &[]),
            ("6.11.5", &["invalid-utf8"]),
            ("6.12.8", &["invalid-utf8"]),
            ("6.21.1", &["invalid-utf8"]),
            ("6.22.1", &[]),
            ("7.3.2", &["close-too-short"]),
            ("7.9.9", &["close-code-invalid"]),
            ("12.1.1", &[]),
        ];
        for (case, rules) in rows {
            assert_eq!(broken_in(case), *rules, "{case}");
        }
    }
}
