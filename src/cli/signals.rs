//! SIGINT and SIGTERM: the first ends the tunnel gracefully, the second at once.

use std::io;
use std::sync::mpsc;

use tcp_tunn::tunnel::Handle;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Watches for signals on a thread of its own, until the process ends. When this returns they
/// are caught.
pub(super) fn stop_on_signals(handle: Handle) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (ready, is_ready) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let watched = signal(SignalKind::interrupt())
                .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
            match watched {
                Ok((mut interrupt, mut terminate)) => {
                    let _ = ready.send(Ok(()));
                    next(&mut interrupt, &mut terminate).await;
                    handle.stop();
                    next(&mut interrupt, &mut terminate).await;
                    handle.abort();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        });
    })?;
    is_ready.recv().unwrap_or_else(|gone| Err(io::Error::other(gone)))
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
