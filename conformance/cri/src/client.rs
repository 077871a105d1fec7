//! The connection, and what every call has in common.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

use crate::Error;
use crate::messages::{VersionRequest, VersionResponse};

/// What bounds the calls of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long the answer to a question may take.
    pub question: Duration,
    /// How long it may take to carry out an order: a sandbox is made, something is stopped.
    pub order: Duration,
    /// The greatest length of an answer in bytes.
    pub answer: usize,
}

impl Default for Options {
    /// The order's time and the answer's length are those that a kubelet has.
    fn default() -> Self {
        Self {
            question: Duration::from_mins(1),
            order: Duration::from_mins(4),
            answer: 16 << 20,
        }
    }
}

/// What is done on the client's thread.
type Task = Box<dyn FnOnce(Channel) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A runtime that answers at a socket. Copies share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    options: Options,
    tasks: UnboundedSender<TaskBox>,
    version: Arc<VersionResponse>,
}

/// A task that can be shown.
struct TaskBox(Task);

impl std::fmt::Debug for TaskBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("task")
    }
}

/// A call: its path, and its name for errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method {
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
}

const VERSION: Method = Method {
    path: "/runtime.v1.RuntimeService/Version",
    name: "Version",
};
const VERSION_BEFORE: Method = Method {
    path: "/runtime.v1alpha2.RuntimeService/Version",
    name: "Version",
};

impl Client {
    /// Asks the runtime at this socket what it is.
    ///
    /// # Errors
    /// Where nobody is there, or something else than a runtime of version 1 of the interface.
    pub fn connect(socket: &Path, options: Options) -> Result<Self, Error> {
        let unreached = |cause| Error::Unreached {
            socket: socket.to_owned(),
            cause,
        };
        let mut client = Self {
            socket: socket.to_owned(),
            options,
            tasks: begin(socket, options.question).map_err(unreached)?,
            version: Arc::default(),
        };
        client.version = Arc::new(client.ask_version()?);
        Ok(client)
    }

    /// What the runtime is, as it said when it was connected to.
    pub fn version(&self) -> &VersionResponse {
        &self.version
    }

    /// What bounds its calls.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn ask_version(&self) -> Result<VersionResponse, Error> {
        let ask = |method, version: &str| {
            let version = version.to_owned();
            self.question::<_, VersionResponse>(method, VersionRequest { version })
        };
        let error = match ask(VERSION, "v1") {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let socket = self.socket.clone();
        match error {
            Error::Broken { cause, .. } => Err(Error::NoCri { socket, cause }),
            error if error.is_unimplemented() => match ask(VERSION_BEFORE, "v1alpha2") {
                Ok(_) => Err(Error::Older { socket }),
                Err(_) => Err(Error::NoCri {
                    socket,
                    cause: error.to_string(),
                }),
            },
            error => Err(error),
        }
    }

    /// Asks for something that is there already.
    pub(crate) fn question<Q, A>(&self, method: Method, question: Q) -> Result<A, Error>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.call(method, question, self.options.question)
    }

    /// Has something done.
    pub(crate) fn order<Q, A>(&self, method: Method, question: Q) -> Result<A, Error>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.call(method, question, self.options.order)
    }

    /// Calls, and waits for the answer until the deadline.
    pub(crate) fn call<Q, A>(
        &self,
        method: Method,
        question: Q,
        deadline: Duration,
    ) -> Result<A, Error>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (answer, answered) = mpsc::sync_channel(1);
        let limit = self.options.answer;
        let task: Task = Box::new(move |channel| {
            Box::pin(async move {
                let asked = ask(channel, method, question, limit);
                let result = match tokio::time::timeout(deadline, asked).await {
                    Ok(result) => result,
                    Err(_) => Err(Error::Late {
                        method: method.name,
                        after: deadline,
                    }),
                };
                // Nobody waits any more where the caller panicked.
                let _ = answer.send(result);
            })
        });
        let ended = || Error::Broken {
            method: method.name,
            cause: "the client's thread has ended".to_owned(),
        };
        self.tasks.send(TaskBox(task)).map_err(|_| ended())?;
        answered.recv().map_err(|_| ended())?
    }
}

async fn ask<Q, A>(channel: Channel, method: Method, question: Q, limit: usize) -> Result<A, Error>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel).max_decoding_message_size(limit);
    let ready = grpc.ready().await;
    ready.map_err(|error| Error::Broken {
        method: method.name,
        cause: error.to_string(),
    })?;
    let path = PathAndQuery::from_static(method.path);
    let codec = ProstCodec::<Q, A>::default();
    let answer = grpc.unary(tonic::Request::new(question), path, codec).await;
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| Error::of_status(method.name, &status, limit))
}

/// Starts the thread that carries calls, until no copy of the client is left.
fn begin(socket: &Path, limit: Duration) -> io::Result<UnboundedSender<TaskBox>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    // The kernel's own word; the connection that is used is made when the first call needs it.
    let connected = runtime.block_on(async {
        let connect = tokio::net::UnixStream::connect(socket);
        tokio::time::timeout(limit, connect).await
    });
    connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let (tasks, given) = unbounded_channel();
    let socket = socket.to_owned();
    std::thread::Builder::new()
        .name("cri".to_owned())
        .spawn(move || runtime.block_on(carry(socket, given)))?;
    Ok(tasks)
}

async fn carry(socket: PathBuf, mut tasks: UnboundedReceiver<TaskBox>) {
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move {
            let stream = tokio::net::UnixStream::connect(socket).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    // The host is a header that gRPC wants, and no name that anybody looks up.
    let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect);
    while let Some(TaskBox(task)) = tasks.recv().await {
        tokio::spawn(task(channel.clone()));
    }
}
