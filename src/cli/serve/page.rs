//! The page at `/`: its files; and what the files of any page may do. Nothing is fetched from anywhere else, and nothing
//! else would be allowed to.

use loopwire::gateway::Gateway;
use loopwire::handshake::Response;

/// A path, its media type, and what is there.
pub(super) type File = (&'static str, &'static str, &'static str);

pub(super) const FILES: [File; 4] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/page/client.js", "text/javascript; charset=utf-8", include_str!("page/client.js")),
    ("/page/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
];

const FIELDS: [(&str, &str); 3] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src data: blob:; connect-src 'self' ws: wss:; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    // The files belong to one version of the server.
    ("Cache-Control", "no-cache"),
];

/// The gateway with these files.
pub(super) fn add_to(gateway: Gateway, files: &[File]) -> Gateway {
    files.iter().fold(gateway, |gateway, &(path, content_type, text)| {
        let response = Response::new(200).with_body(content_type, text);
        let response = FIELDS
            .into_iter()
            .fold(response, |response, (name, value)| response.clone().with_field(name, value).unwrap_or(response));
        gateway.page(path, response)
    })
}
