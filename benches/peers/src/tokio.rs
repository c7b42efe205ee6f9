//! What the servers on tokio have in common: one thread, TLS by rustls with ring, and answers that leave together.

use std::env;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use futures_util::future::poll_immediate;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::unconstrained;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
pub use tokio_rustls::server::TlsStream;

use crate::{Arguments, Request, listen};

/// A server on one thread that gives each connection, accepted but not yet upgraded, to `plain`.
pub fn serve<P>(arguments: Arguments, plain: impl Fn(TcpStream) -> P) -> !
where
    P: Future<Output: Send> + Send + 'static,
{
    run(arguments.port, |stream| drop(tokio::spawn(unconstrained(plain(stream)))))
}

/// The same over TLS, with the certificate and key that the environment names.
pub fn serve_tls<S>(arguments: Arguments, secure: impl Fn(TlsStream<TcpStream>) -> S + Clone + Send + 'static) -> !
where
    S: Future<Output: Send> + Send + 'static,
{
    let acceptor =
        TlsAcceptor::from(Arc::new(tls_config().expect("TLS_CERT and TLS_KEY name a certificate and its key")));
    run(arguments.port, |stream| {
        let (acceptor, secure) = (acceptor.clone(), secure.clone());
        tokio::spawn(unconstrained(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                secure(stream).await;
            }
        }));
    })
}

fn run(port: u16, spawn: impl Fn(TcpStream)) -> ! {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listen(port)).expect("a listener of this runtime");
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                spawn(stream);
            }
        }
    })
}

fn tls_config() -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let chain = CertificateDer::pem_file_iter(env::var("TLS_CERT")?)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(env::var("TLS_KEY")?)?;
    Ok(ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?)
}

/// The opening handshake for libraries that take a stream behind it. `agree` sees the extensions that are offered and
/// says which is agreed on.
///
/// # Errors
///
/// The stream's, and [`ErrorKind::UnexpectedEof`] if it ends before the request does.
pub async fn upgrade<S>(stream: &mut S, agree: impl FnOnce(&str) -> Option<String>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(request) = Request::parse(&head) {
            let extension = request.offers.and_then(agree);
            stream.write_all(request.answer(extension.as_deref()).as_bytes()).await?;
            return stream.flush().await;
        }
    }
}

/// How many answers leave together at most.
const BATCH: usize = 32;

/// Answers all messages that are there already before it flushes once, for libraries that would otherwise write, or
/// flush, for each. `reply` makes an answer of what the stream yields, or none.
pub async fn echo<S, I, M>(mut socket: S, reply: impl Fn(I) -> Option<M>)
where
    S: Stream<Item = I> + Sink<M> + Unpin,
{
    let mut batch = Vec::new();
    let mut more = true;
    while more && let Some(item) = socket.next().await {
        batch.extend(reply(item));
        while batch.len() < BATCH
            && let Some(next) = poll_immediate(socket.next()).await
        {
            match next {
                Some(item) => batch.extend(reply(item)),
                None => {
                    more = false;
                    break;
                }
            }
        }
        for answer in batch.drain(..) {
            if socket.feed(answer).await.is_err() {
                return;
            }
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}
