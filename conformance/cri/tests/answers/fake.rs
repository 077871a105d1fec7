//! A server at a socket that answers as a test says.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;

use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use prost::Message;
use prost::bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;

/// The size of what is before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What comes of a call.
pub(crate) enum Reply {
    /// This message.
    Says(Vec<u8>),
    /// A refusal: its code and words.
    Refuses(u16, &'static str),
    /// As many bytes as a message, all zero.
    Long(usize),
    /// The beginning of a message, then nothing more.
    Stops,
    /// The beginning of a message, then the connection is closed.
    Closes,
    /// A page, as of a server of HTTP.
    Page(u16),
}

impl Reply {
    pub(crate) fn of(message: &impl Message) -> Self {
        Self::Says(message.encode_to_vec())
    }

    pub(crate) const UNKNOWN: Self = Self::Refuses(12, "unknown service");
}

/// The server, whose thread ends with the program of tests.
pub(crate) struct Fake {
    folder: TempDir,
}

type Answer = dyn Fn(&str, &[u8]) -> Reply + Send + Sync;

impl Fake {
    /// Answers each call, of which `answer` is told the path and the message.
    pub(crate) fn new(answer: impl Fn(&str, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fake = Self { folder };
        let listener = std::os::unix::net::UnixListener::bind(fake.socket()).expect("a socket");
        listener.set_nonblocking(true).expect("it is a socket");
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&answer)));
                }
            });
        });
        fake
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

async fn serve(stream: tokio::net::UnixStream, answer: Arc<Answer>) {
    // Another client may have looked whether anybody listens.
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let (close, mut closed) = tokio::sync::mpsc::unbounded_channel::<()>();
    loop {
        // The end first: else a reset of the one call may go out before the connection is closed,
        // and the client's next call on the connection that is just closing.
        let accepted = std::future::poll_fn(|cx| match closed.poll_recv(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => connection.poll_accept(cx),
        })
        .await;
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let (answer, close) = (Arc::clone(&answer), close.clone());
        tokio::spawn(async move {
            // A client that has had enough goes.
            let _ = reply(request, respond, answer, close).await;
        });
    }
}

async fn reply(
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: Arc<Answer>,
    close: UnboundedSender<()>,
) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let mut question = Vec::new();
    while let Some(part) = body.data().await {
        question.extend(part?);
    }
    let message = question.get(PREFIX..).unwrap_or_default();
    let answer = answer(&path, message);
    if let Reply::Page(status) = answer {
        let head = Response::builder()
            .status(status)
            .header("content-type", "text/html");
        let mut page = respond.send_response(head.body(()).expect("a head"), false)?;
        return page.send_data("<p>hello</p>".into(), true);
    }
    let head = Response::builder().header("content-type", "application/grpc");
    let mut stream = respond.send_response(head.body(()).expect("a head"), false)?;
    let (code, words) = match answer {
        Reply::Refuses(code, words) => (code, words),
        Reply::Says(message) => {
            stream.send_data(framed(message.len(), message), false)?;
            (0, "")
        }
        Reply::Long(length) => {
            stream.send_data(framed(length, vec![0; length]), false)?;
            (0, "")
        }
        Reply::Stops | Reply::Closes | Reply::Page(_) => {
            stream.send_data(framed(100, vec![0; 10]), false)?;
            if matches!(answer, Reply::Stops) {
                std::future::pending::<()>().await;
            }
            // It is sent before the connection is closed, or is not: either way it breaks off.
            let _ = close.send(());
            return Ok(());
        }
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    trailers.insert("grpc-message", HeaderValue::from_static(words));
    stream.send_trailers(trailers)
}

/// A message as gRPC frames it: not compressed, this long.
fn framed(length: usize, message: Vec<u8>) -> Bytes {
    let length = u32::try_from(length).expect("it is not that long");
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    framed.into()
}
