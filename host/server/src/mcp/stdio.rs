//! MCP on standard input and output, where nothing but MCP ever appears: one JSON-RPC message a line.

use std::sync::Arc;
use std::time::Duration;

use rmcp::transport::stdio_pipes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::connection::{self, Limits};
use super::handler::Handler;
use super::lines;
use super::session::{Origin, Transport};
use super::toolset::Toolset;
use crate::trust::Caller;

/// The limits of serving on standard input and output.
#[derive(Debug, Clone)]
pub struct Options {
    /// The limits of the one connection. Whoever started the process holds its input, so it may be idle for ever.
    pub connection: Limits,
    /// How long running calls may go on once the server stops; 10 s.
    pub grace: Duration,
    /// Where the client comes from, for the audit log; this process's own user, unless it is a socket.
    pub origin: Origin,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connection: Limits {
                initialize_timeout: None,
                idle_timeout: None,
                ..Limits::default()
            },
            grace: Duration::from_secs(10),
            origin: Origin::own(Transport::Stdio),
        }
    }
}

/// Serves MCP on this process's standard input and output, until the input ends or `shutdown` is cancelled. Once it
/// returns, every answer is written and no call of this session is waited for any more.
pub async fn serve(toolset: Arc<Toolset>, options: Options, shutdown: CancellationToken) {
    let (read, write) = stdio_pipes();
    serve_streams(toolset, read, write, options, shutdown).await;
}

/// Serves MCP on a pair of byte streams as on standard input and output, for whoever embeds the server; the caller is
/// trusted as the local user.
pub async fn serve_streams<R, W>(
    toolset: Arc<Toolset>,
    read: R,
    write: W,
    options: Options,
    shutdown: CancellationToken,
) where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let handler = Handler::new(Arc::clone(&toolset))
        .for_connection(Caller::local(), toolset.session(options.origin));
    let connection = lines::connection(Bytes::new(), read, write, options.connection);
    let stop = CancellationToken::new();
    let serving = connection::serve(handler, connection, stop.clone());
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => {}
        () = shutdown.cancelled() => {
            // The connection stays open meanwhile, so that the answers still arrive.
            toolset.stop(options.grace).await;
            stop.cancel();
            serving.await;
        }
    }
}
