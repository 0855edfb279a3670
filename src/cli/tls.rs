//! What is done with TLS: `--tls` and what it needs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use tcp_tunn::event::Views;
use tcp_tunn::os_error::Sentence;
use tcp_tunn::sink::KeyLogFile;
use tcp_tunn::tunnel::Builder;

use super::program::Program;
use super::tls_ending::TlsEndingArgs;
use super::tls_mode::TlsMode;

/// What is done with TLS.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "TLS options")]
pub(super) struct TlsArgs {
    /// Show the plaintext of TLS: off, decrypt, intercept, terminate or originate
    ///
    /// What to do with TLS. off: show what the sockets carry. decrypt: show the plaintext, by the
    /// keys that a program logs; the connection itself is not changed. intercept: end the client's
    /// TLS, in the name of the server, and begin another with the server; clients have to trust the
    /// local authority (tcp_tunn ca). terminate: end the client's TLS, and send the server
    /// plaintext. originate: take plaintext, and speak TLS with the server. [default: off, and
    /// decrypt with run]
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    #[arg(hide_short_help = true)]
    tls: Option<TlsMode>,

    /// Read the secrets of TLS connections from this key log
    ///
    /// Read the secrets of TLS connections from this key log, for --tls decrypt, and put them into
    /// the capture, so that Wireshark decrypts it. Most programs write the log that SSLKEYLOGFILE
    /// names. The file is followed while it grows.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_keylog: Option<PathBuf>,

    /// Capture of TLS the wire, the plaintext, or both: wire, plain or both
    ///
    /// Which view of TLS to capture where it is decrypted. wire: what the sockets carry, with the
    /// secrets, so that Wireshark decrypts it. plain: the plaintext, as a TCP conversation, for
    /// readers that cannot decrypt. both: two conversations.
    #[arg(long, value_enum, value_name = "VIEW", default_value_t, hide_possible_values = true)]
    #[arg(hide_short_help = true)]
    tls_view: TlsView,

    #[command(flatten)]
    ending: TlsEndingArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TlsView {
    #[default]
    Wire,
    Plain,
    Both,
}

impl TlsArgs {
    /// What cannot work, if anything. `is_run` where a program is started, which logs its keys.
    pub(super) fn check(&self, is_run: bool, has_capture: bool) -> Result<(), String> {
        let is_fifo_or_folder = |path: &PathBuf| {
            path.metadata().is_ok_and(|meta| meta.is_dir() || meta.file_type().is_fifo())
        };
        if let Some(path) = self.tls_keylog.as_ref().filter(|path| is_fifo_or_folder(path)) {
            let path = path.display();
            return Err(format!("'{path}' is not a file (give the one that SSLKEYLOGFILE names)"));
        }
        if let Some(path) = &self.tls_keylog
            && let Err(error) = File::open(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            let (path, why) = (path.display(), Sentence(&error));
            return Err(format!("cannot read '{path}': {why} (give a file that you may read)"));
        }
        if self.tls_view != TlsView::Wire {
            let what = "--tls-view has no effect without";
            if !has_capture {
                return Err(format!("{what} a capture (try '--pcap FILE')"));
            }
            if self.tls == Some(TlsMode::Off) || self.tls.is_none() && !is_run {
                return Err(format!("{what} plaintext (try '--tls decrypt --tls-keylog FILE')"));
            }
        }
        self.ending.check(self.tls)?;
        match (self.tls, &self.tls_keylog) {
            (Some(mode), Some(_)) if mode.is_ending() => Err(format!(
                "--tls-keylog has no effect with '--tls {}' (try '--tls-keylog-out FILE')",
                mode.name()
            )),
            (Some(TlsMode::Decrypt), None) if !is_run => Err(
                "--tls decrypt needs the keys (give '--tls-keylog FILE', or try 'tcp_tunn run CMD')"
                    .to_owned(),
            ),
            (None | Some(TlsMode::Off), Some(_)) if !is_run && !has_capture => {
                let what = "--tls-keylog has no effect without a capture or '--tls decrypt'";
                Err(format!("{what} (try '--tls decrypt')"))
            }
            _ => Ok(()),
        }
    }

    /// Has a program that is started log its keys, or trust the authority in whose name its servers
    /// are answered.
    pub(super) fn prepare(&mut self, program: &mut Program) -> anyhow::Result<()> {
        match self.tls {
            None | Some(TlsMode::Decrypt) => self.follow_program(program),
            Some(TlsMode::Intercept) => {
                for (name, path) in self.ending.store()?.variables()? {
                    program.set(name, &path);
                }
                Ok(())
            }
            Some(TlsMode::Off | TlsMode::Terminate | TlsMode::Originate) => Ok(()),
        }
    }

    /// Has TLS end in the tunnel, if it is to.
    pub(super) fn add_to(&self, builder: Builder) -> anyhow::Result<Builder> {
        Ok(match self.ending.ender(self.tls)? {
            Some(ender) => builder.end_tls(ender, self.ending.pass()),
            None => builder,
        })
    }

    /// Whether TLS ends in the tunnel.
    pub(super) fn is_ending(&self) -> bool {
        self.tls.is_some_and(TlsMode::is_ending)
    }

    /// The sink that keeps the secrets of the tunnel's own TLS, if it is wanted, and its file.
    pub(super) fn key_log_out(&self) -> anyhow::Result<Option<(KeyLogFile, &Path)>> {
        self.ending.key_log_out()
    }

    /// Decrypts with the keys that a program logs: to the file of `--tls-keylog`, or to its own.
    fn follow_program(&mut self, program: &mut Program) -> anyhow::Result<()> {
        match &self.tls_keylog {
            Some(path) => program.log_keys_to(path).context("cannot name the key log")?,
            None => {
                let made = program.key_log();
                let path = made.context("cannot make a file for the program's TLS keys")?;
                self.tls_keylog = Some(path);
            }
        }
        self.tls = Some(TlsMode::Decrypt);
        Ok(())
    }

    /// The key log whose secrets go into the capture.
    pub(super) fn key_log(&self) -> Option<&Path> {
        self.tls_keylog.as_deref()
    }

    /// Which view of TLS the capture shows.
    pub(super) const fn views(&self) -> Views {
        match self.tls_view {
            TlsView::Wire => Views::Wire,
            TlsView::Plain => Views::Readable,
            TlsView::Both => Views::Both,
        }
    }

    /// The key log by which plaintext is shown, if it is.
    pub(super) fn decrypts_by(&self) -> Option<&Path> {
        self.key_log().filter(|_| self.tls == Some(TlsMode::Decrypt))
    }
}
